/** @file Tests of decoding as Pillow does it: stored pixels, conversions by closed forms, damaged files. */
import { readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import sharp, { type Sharp } from 'sharp';
import { describe, expect, test } from 'vitest';
import { InputError } from '../engine/io/errors.ts';
import { readSafetensors, type StoredTensor, toFloat32 } from '../engine/io/safetensors.ts';
import { goldenPath } from '../engine/testing/golden.ts';
import { decodePicture, type PictureOptions } from './image.ts';
import { narrow, toChannels } from './pixels.ts';
import { tempFolder } from './testing/temp.ts';

const root = tempFolder();

describe('pixels that Pillow decoded', () => {
  const path = goldenPath('resize/decode.json');
  const folder = path?.replace('.json', '');
  const WAYS: readonly [suffix: string, options: PictureOptions][] = [
    ['rgb', {}],
    ['rgba', { channels: 4 }],
    ['exif_transposed', { orientation: true }],
  ];
  const same = async (tensors: ReadonlyMap<string, StoredTensor>, file: string): Promise<string[]> => {
    const lists = await Promise.all(
      WAYS.map(async ([suffix, options]) => {
        const stored = tensors.get(`${file}.${suffix}`);
        if (!stored) return [];
        const { pixels, width, height, channels } = await decodePicture(join(folder!, file), options);
        expect([height, width, channels], file).toEqual(stored.shape);
        return Buffer.compare(pixels, Uint8Array.from(toFloat32(stored))) === 0 ? ['same'] : [`${file} ${suffix} differs`];
      }),
    );
    return lists.flat();
  };

  test.skipIf(!path)('PNG and JPEG are the same bytes', async () => {
    const { tensors } = await readSafetensors(path!.replace('json', 'safetensors'));
    const { files } = JSON.parse(readFileSync(path!, 'utf8')) as { files: Record<string, unknown> };
    const results = (await Promise.all(Object.keys(files).map((file) => same(tensors, file)))).flat();
    expect(results.filter((result) => result !== 'same')).toEqual([]);
    expect(results.length).toBe(39); // 29 files, 7 with alpha, 3 with an orientation
  });

  test.skipIf(!path)('16-bit grey by its high byte where that is asked for', async () => {
    const { tensors } = await readSafetensors(path!.replace('json', 'safetensors'));
    const levels = toFloat32(tensors.get('grey16.png.native')!);
    const { pixels } = await decodePicture(join(folder!, 'grey16.png'), { grey16: 'high', channels: 1 });
    expect([...pixels]).toEqual(Array.from(levels, (level) => level >> 8));
  });

  test.skipIf(!path)('a file that is cut off is refused or, where only its end mark is missing, whole', async () => {
    for (const file of ['rgb8.png', 'rgb8-adam7.png', 'q75-420.jpg', 'q80-420-progressive.jpg', 'grey16.png']) {
      const bytes = readFileSync(join(folder!, file));
      const { pixels } = await decodePicture(bytes);
      let refused = 0;
      for (const share of [0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 0.999]) {
        const cut = bytes.subarray(0, Math.floor(bytes.length * share));
        const got = await decodePicture(cut, { name: 'cut.png' }).catch((error: unknown) => error as Error);
        if ('pixels' in got) expect(Buffer.compare(got.pixels, pixels), `${file} ${share}`).toBe(0);
        else expect(got.message).toMatch(/^image: cut\.png cannot be read as an image \([^\n]+$/);
        if (got instanceof InputError) refused++;
      }
      expect(refused, basename(file)).toBeGreaterThanOrEqual(7);
    }
  });
});

describe('WebP, TIFF and GIF', () => {
  const pixels = Uint8Array.from({ length: 6 * 5 * 4 }, (_, i) => (i * 37) % 256);
  const raw = (): Sharp => sharp(pixels, { raw: { width: 6, height: 5, channels: 4 } });
  const colours = [...pixels].filter((_, i) => i % 4 !== 3);

  test('alpha is dropped, not blended', async () => {
    for (const file of [
      await raw().webp({ lossless: true, exact: true }).toBuffer(),
      await raw().tiff({ compression: 'lzw' }).toBuffer(),
    ]) {
      expect([...(await decodePicture(file)).pixels]).toEqual(colours);
      expect([...(await decodePicture(file, { channels: 4 })).pixels]).toEqual([...pixels]);
    }
  });

  test('the first frame of several', async () => {
    const gif = await sharp(Uint8Array.of(0, 0, 0, 255, 255, 255), { raw: { width: 1, height: 2, channels: 3, pageHeight: 1 } })
      .gif()
      .toBuffer();
    expect(await decodePicture(gif)).toMatchObject({ width: 1, height: 1, pixels: Uint8Array.of(0, 0, 0) });
  });
});

describe('conversions', () => {
  const rgba = { data: Uint8Array.of(200, 100, 50, 0, 10, 20, 30, 255, 100, 0, 255, 51), channels: 4, cmyk: false };
  test('transparency over a background: c·α + b·(1 − α)', () => {
    // 51/255 = 1/5: 100/5 + 4·255/5 = 224, 0 + 204, 51 + 204.
    expect([...toChannels(rgba, 3, [255, 255, 255])]).toEqual([255, 255, 255, 10, 20, 30, 224, 204, 255]);
    expect([...toChannels(rgba, 4, [255, 255, 255])].filter((_, i) => i % 4 === 3)).toEqual([255, 255, 255]);
  });

  test('grey is 0.299 red, 0.587 green, 0.114 blue; of grey it is the grey itself', () => {
    for (const [r, g, b] of [
      [255, 0, 0],
      [0, 255, 0],
      [0, 0, 255],
      [12, 200, 99],
    ] as const)
      expect(toChannels({ data: Uint8Array.of(r, g, b), channels: 3, cmyk: false }, 1)[0]).toBe(
        Math.round(0.299 * r + 0.587 * g + 0.114 * b),
      );
    const all = Uint8Array.from({ length: 256 }, (_, i) => i);
    const colour = toChannels({ data: all, channels: 1, cmyk: false }, 3);
    expect([...colour]).toEqual([...all].flatMap((v) => [v, v, v]));
    expect([...toChannels({ data: colour, channels: 3, cmyk: false }, 1)]).toEqual([...all]);
  });

  test('ink: (1 − ink)(1 − black)', () => {
    const inks = Uint8Array.of(0, 0, 0, 0, 255, 0, 0, 0, 51, 102, 0, 128, 9, 9, 9, 255);
    expect([...toChannels({ data: inks, channels: 4, cmyk: true }, 3)]).toEqual([
      255,
      255,
      255,
      0,
      255,
      255,
      Math.round((204 * 127) / 255),
      Math.round((153 * 127) / 255),
      127,
      0,
      0,
      0,
    ]);
  });

  test('16 bits to 8', () => {
    const levels = Uint16Array.of(0, 255, 256, 65535, 0x1234);
    expect([...narrow(levels, true)]).toEqual([0, 255, 255, 255, 255]);
    expect([...narrow(levels, false)]).toEqual([0, 0, 1, 255, 0x12]);
  });
});

describe('what is refused', () => {
  test.each([
    ['text', Buffer.from('not an image')],
    ['nothing', Buffer.alloc(0)],
    ['a drawing', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"/>')],
  ])('%s', async (_, bytes) => {
    const path = join(root, 'bad.png');
    writeFileSync(path, bytes);
    const failure = decodePicture(path);
    await expect(failure).rejects.toBeInstanceOf(InputError);
    await expect(failure).rejects.toThrow(/^image: .*bad\.png cannot be read as an image \(.*\); a complete \.png, .* file expected$/);
  });
});
