/** @file Tests of CLIP's preprocessing, of crops and of DMD2's evaluation crop. */
import { describe, expect, test } from 'vitest';
import { goldenPath } from '../../engine/testing/golden.ts';
import { CLIP_MEAN, CLIP_STD, CLIP_VARIANTS, centreCrop, clipCrop, clipPreprocess, squareCrop } from './index.ts';
import { picture, readResizeFacts, sha256, worst } from './testing/pictures.ts';

const NAMES = { 'open-clip': 'open_clip', hf: 'hf_torchvision', 'hf-pil': 'hf_pil' } as const;

/** [3, n, n] to [n, n, 3]. */
const interleaved = (planes: Float32Array): number[] =>
  Array.from({ length: planes.length }, (_, i) => planes[(i % 3) * (planes.length / 3) + Math.floor(i / 3)]!);

const path = goldenPath('resize/clip-preprocess.json');
test.skipIf(!path)('every variant agrees with stored values', async () => {
  const facts = await readResizeFacts(path!);
  for (const [name, { image, input_hw: from, size, outputs }] of Object.entries(facts.cases)) {
    const pixels = picture(image, from);
    for (const variant of CLIP_VARIANTS) {
      const got = interleaved(clipPreprocess({ variant, size, from })(pixels));
      const off = worst(got, facts, `${name}.${NAMES[variant]}`, `${name}.yx`, [size, size]);
      expect(off, `${name} ${variant}`).toBeLessThanOrEqual(facts.tolerance['absolute']!);
    }
    expect(sha256(clipCrop({ variant: 'hf-pil', size, from })(pixels))).toBe(outputs['hf_pil_uint8_before_normalise']!.sha256_hwc);
    expect(sha256(squareCrop({ from })(pixels))).toBe(outputs['dmd2_crop_lanczos256']!.sha256_hwc);
  }
});

describe('crops', () => {
  const row = Uint8Array.from({ length: 9 }, (_, i) => i);
  test.each([
    [8, 'even', 0], // margin 1: half to even is 0
    [6, 'even', 2], // margin 3: 1.5 to even is 2
    [6, 'down', 1],
    [4, 'even', 2], // margin 5: 2.5 to even is 2
    [4, 'down', 2],
    [5, 'even', 2],
    [9, 'down', 0],
  ] as const)('%i of 9 pixels, rounding %s, start at %i', (width, rounding, start) => {
    expect([...centreCrop(row, [1, 9], [1, width], 1, rounding)]).toEqual([...row.subarray(start, start + width)]);
  });

  test('keeps rows and channels together', () => {
    const pixels = Uint8Array.from({ length: 4 * 4 * 2 }, (_, i) => i);
    expect([...centreCrop(pixels, [4, 4], [2, 2], 2)]).toEqual([10, 11, 12, 13, 18, 19, 20, 21]);
  });

  test('refuses a cut that is larger', () => {
    expect(() => centreCrop(row, [1, 9], [2, 9], 1)).toThrow('crop: [2, 9] of 9 values [1, 9, 1]; a cut inside it expected');
  });
});

test('normalises by mean and deviation, channels first', () => {
  const white = clipPreprocess({ variant: 'open-clip', size: 2, from: [4, 6] })(new Uint8Array(4 * 6 * 3).fill(255));
  expect(white.length).toBe(12);
  for (const [i, value] of white.entries()) {
    const c = Math.floor(i / 4);
    expect(value).toBeCloseTo((1 - CLIP_MEAN[c]!) / CLIP_STD[c]!, 6);
  }
});

test('refuses an unknown variant', () => {
  expect(() => clipCrop({ variant: 'openclip' as never, size: 2, from: [2, 2] })).toThrow(
    'clip: no variant "openclip"; one of open-clip, hf, hf-pil expected',
  );
});
