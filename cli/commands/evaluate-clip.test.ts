/** @file `onestep evaluate` with a CLIP: the score and the distance of its own features, captions from a file and beside images, and what is missing. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodePng } from '../../data/image.ts';
import { openClip } from '../../eval/clip/clip.ts';
import { pixelsOf } from '../../eval/clip/preprocess.ts';
import { squareResizer } from '../../eval/clip/resizer.ts';
import { clipScore, imageSimilarity } from '../../eval/clip/score.ts';
import { clipFolder, storedClip } from '../../eval/clip/testing/folders.ts';
import { noise } from '../../eval/testing/values.ts';
import { attempt } from '../testing/command.ts';

const stored = storedClip();
const CAPTIONS = ['a red square', 'two dogs', 'a photo of a cat', 'nothing at all', 'ein Haus'];

describe.skipIf(!stored)('a CLIP', () => {
  let folder = '';
  let clip = '';
  let images = '';
  const pixels = (i: number): Uint8Array => Uint8Array.from(noise(20 * 24 * 3, i + 1), (v) => Math.floor((v + 1) * 128));
  const use = (): readonly string[] => ['--clip', clip, '--workers', '1', '--cache', join(folder, 'cache')];
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'evaluate-clip-'));
    clip = clipFolder(stored!, 'full-vocab-fp16', folder);
    images = join(folder, 'images');
    await mkdir(images);
    for (let i = 0; i < CAPTIONS.length; i++) {
      // Planes, as encodePng takes them.
      const planes = Uint8Array.from({ length: 1440 }, (_, k) => pixels(i)[3 * (k % 480) + Math.floor(k / 480)]!);
      await writeFile(join(images, `${i}.png`), await encodePng(planes, 24, 20, 3));
    }
    await writeFile(join(folder, 'captions.txt'), `${CAPTIONS.join('\n')}\n`);
  });
  afterAll(() => rm(folder, { recursive: true }));
  async function measured(...args: readonly string[]) {
    const { code, stdout, stderr } = await attempt('evaluate', ...args, '--json');
    expect([code, stderr]).toEqual([0, '']);
    return JSON.parse(stdout);
  }
  async function refused(args: readonly string[], message: RegExp): Promise<void> {
    const { code, stderr } = await attempt('evaluate', ...args);
    expect(stderr).toMatch(/^error: [^\n]+\n$/);
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
  }

  test('scores images and captions as the library does, by each convention', { timeout: 60_000 }, async () => {
    const network = await openClip(clip);
    const pictures = CAPTIONS.map((_, i) => ({ pixels: pixels(i), height: 20, width: 24 }));
    const features = await network.imageFeatures(pixelsOf(pictures, network.preprocessing, squareResizer(network.preprocessing)));
    for (const convention of ['clip-score', 'dmd2'] as const) {
      const wanted = await clipScore(network, convention, features, CAPTIONS);
      const report = await measured(
        images,
        '--captions',
        join(folder, 'captions.txt'),
        '--metrics',
        'clip-score',
        '--clip-convention',
        convention,
        ...use(),
      );
      expect(report.metrics['clip-score'].value).toBeCloseTo(wanted.value, 5);
      expect(report).toMatchObject({
        n: [5, null],
        extractor: null,
        clip: { name: 'full-vocab-fp16', sha256: network.checksum },
        settings: { clipConvention: convention },
      });
    }
    await network.close();
  });
  test('captions beside the images; CMMD of its features beside a distance of others', { timeout: 60_000 }, async () => {
    for (const [i, caption] of CAPTIONS.entries()) await writeFile(join(images, `${i}.txt`), caption);
    const report = await measured(images, '--reference', images, '--metrics', 'clip-score,cmmd,kid', '--extractor', 'random', ...use());
    const fromFile = await measured(images, '--captions', join(folder, 'captions.txt'), '--metrics', 'clip-score', ...use());
    expect(report.metrics['clip-score']).toEqual(fromFile.metrics['clip-score']);
    // A set and itself: by the biased estimate exactly nothing.
    expect(Math.abs(report.metrics.cmmd.value)).toBeLessThan(1e-6);
    expect([report.extractor.name, report.clip.name]).toEqual(['random features', 'full-vocab-fp16']);
  });
  test('similarity of images, of all pairs and of those that belong together', { timeout: 60_000 }, async () => {
    const like = async (...more: readonly string[]) =>
      (await measured(images, '--reference', images, '--metrics', 'clip-image-similarity', ...more, ...use())).metrics[
        'clip-image-similarity'
      ];
    const network = await openClip(clip);
    const pictures = CAPTIONS.map((_, i) => ({ pixels: pixels(i), height: 20, width: 24 }));
    const features = await network.imageFeatures(pixelsOf(pictures, network.preprocessing, squareResizer(network.preprocessing)));
    const d = network.dimensions;
    const shifted = (by: number) => Float32Array.from(features, (_, at) => features[(at + by * d) % features.length]!);
    const each = CAPTIONS.map((_, by) => imageSimilarity(features, shifted(by), d));
    expect((await like()).value).toBeCloseTo(each.reduce((sum, one) => sum + one, 0) / each.length, 5);
    expect((await like('--similarity-pairs', 'matched')).value).toBeCloseTo(1, 6);
    await network.close();
    await refused([images, '--reference', images, '--metrics', 'clip-image-similarity'], /clip-image-similarity: needs a CLIP/);
  });
  test('what is missing or does not fit is said in a line', async () => {
    await writeFile(join(folder, 'four.txt'), 'a\nb\nc\nd\n');
    await refused(
      [images, '--captions', join(folder, 'four.txt'), '--metrics', 'clip-score', ...use()],
      /captions: .*four\.txt has 4 for 5 images; one caption an image expected/,
    );
    await refused([images, '--metrics', 'clip-score'], /clip-score: needs a CLIP; give its folder with --clip/);
    await rm(join(images, '3.txt'), { force: true });
    await refused(
      [images, '--metrics', 'clip-score', ...use()],
      /clip-score: not every image has a caption beside it; give captions with --captions, one for each of 5 images/,
    );
    await refused([images, '--metrics', 'clip-score', '--clip', join(folder, 'nowhere')], /nowhere/);
  });
});
