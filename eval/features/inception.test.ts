/** @file The FID Inception on formula weights against three tools, whose resizing and scaling differ; where weights are found and what is refused. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { input } from '../../engine/graph/ops/leaf.ts';
import { sha256 } from '../../engine/io/atomic.ts';
import { fromFloat32, readSafetensors, type StoredTensor, toFloat32, writeSafetensors } from '../../engine/io/safetensors.ts';
import { goldenPath } from '../../engine/testing/golden.ts';
import { type SavedTensor, writeTorchFile } from '../../engine/testing/torch-file.ts';
import { recordingScope } from '../../engine/train/weights.ts';
import { inception } from '../../models/foreign/inception.ts';
import { formulaWeights } from '../../models/foreign/testing/formula-weights.ts';
import { readFacts } from '../../models/testing/golden.ts';
import { type InceptionConvention, type InceptionPicture, inceptionExtractor, openInception, readInceptionWeights } from './inception.ts';
import { findInceptionWeights, INCEPTION_FILES, inceptionWeights } from './weights-cache.ts';

const scratch = mkdtempSync(join(tmpdir(), 'inception-'));
const weights = join(scratch, 'formula.safetensors');
beforeAll(async () => {
  const { scope, declared } = recordingScope('net');
  inception(scope, input('x', [1, 3, 299, 299])).logits();
  const made = formulaWeights(declared.values());
  await writeSafetensors(
    weights,
    [...made].map(([name, { data, shape }]) => [name, fromFloat32(data, shape)] as const),
  );
}, 30_000);
afterAll(() => rmSync(scratch, { recursive: true }));

const path = goldenPath('fid/inception.json');
/** Picture `zone` of the collection, as bytes [3,299,299]. */
function zone(side: number): Uint8Array {
  const out = new Uint8Array(3 * side * side);
  for (let c = 0; c < 3; c++)
    for (let y = 0; y < side; y++)
      for (let x = 0; x < side; x++) out[(c * side + y) * side + x] = ((x * x * (c + 1) + y * y * (3 - c) + 5 * x * y) >> 8) & 255;
  return out;
}

describe.skipIf(!path)('equals the tools on their own conventions', () => {
  let tensors: ReadonlyMap<string, StoredTensor>;
  let tolerance = 0;
  beforeAll(async () => {
    ({ tensors } = await readSafetensors(path!.replace(/json$/, 'safetensors')));
    tolerance = (readFacts<object>(path!) as unknown as { tolerance: { absolute: number } }).tolerance.absolute;
  });
  const imageOf = (name: string): readonly [Uint8Array, readonly [number, number, number]] => {
    const stored = tensors.get(`image.${name}`);
    return stored ? [stored.bytes, stored.shape as [number, number, number]] : [zone(299), [3, 299, 299]];
  };
  const farthest = (got: ArrayLike<number>, want: StoredTensor): number => {
    const values = toFloat32(want);
    return got.length === values.length
      ? values.reduce((worst, v, i) => Math.max(worst, Math.abs(v - got[i]!)), 0)
      : Number.POSITIVE_INFINITY;
  };
  const pictureOf = (name: string): InceptionPicture => {
    const [bytes, [, height, width]] = imageOf(name);
    const area = height * width;
    return { pixels: Uint8Array.from({ length: 3 * area }, (_, i) => bytes[(i % 3) * area + Math.floor(i / 3)]!), height, width };
  };
  test.each<[string, InceptionConvention, string | null]>([
    ['pytorch_fid.resize', 'pytorch-fid', null],
    ['torch_fidelity', 'torch-fidelity', null],
    ['clean_fid.clean', 'clean-fid', null],
    ['pytorch_fid.no_resize', 'pytorch-fid', 'none'],
  ])(
    '%s',
    async (golden, convention, resize) => {
      for (const tap of [64, 192, 768, 2048] as const) {
        const network = await openInception({ weights, convention, tap, resize, threads: 2 });
        for (const name of tap === 2048 ? ['a', 'b', 'c', 'd'] : ['a']) {
          const want = tensors.get(`${golden}.${name}.${tap}`);
          if (!want) continue;
          const { values, shape } = network.prepare(pictureOf(name));
          const { features, logits } = await network.run(values, 1, shape);
          expect(farthest(features, want), `${golden}.${name}.${tap}`).toBeLessThan(tolerance);
          const score = tensors.get(`${golden}.${name}.${convention === 'torch-fidelity' ? 'logits_unbiased' : 'logits'}`);
          if (tap === 2048 && score) expect(farthest(logits!, score), `${golden}.${name}.logits`).toBeLessThan(tolerance);
          else if (tap !== 2048) expect(logits).toBeNull();
        }
        await network.close();
      }
    },
    60_000,
  );
  test('the picture that is made here is the stored one', () => {
    const hwc = new Uint8Array(3 * 299 * 299);
    const chw = zone(299);
    for (let i = 0; i < 299 * 299; i++) for (let c = 0; c < 3; c++) hwc[3 * i + c] = chw[c * 299 * 299 + i]!;
    expect(sha256(hwc)).toBe('abab05120b38c49320a1816d628437572f5c668a7d1f82f07e9ac23247027594');
  });
});

test('an image has the same features in any company, and a grey one those of its three copies', async () => {
  const grey = await inceptionExtractor({ weights, tap: 64, resize: 'none', sample: [1, 20, 20] });
  const colour = await inceptionExtractor({ weights, tap: 64, resize: 'none', sample: [3, 20, 20] });
  const images = Uint8Array.from({ length: 9 * 1200 }, (_, i) => (i * 7919) % 256);
  const { features } = await colour.features(images, 9);
  const alone = await colour.features(images.subarray(8 * 1200), 1);
  expect(Math.max(...alone.features.map((v, i) => Math.abs(v - features[8 * 64 + i]!)))).toBeLessThan(1e-5); // rounding at features of size 1
  const plane = images.subarray(0, 400);
  const copies = await colour.features(Uint8Array.from([...plane, ...plane, ...plane]), 1);
  expect([...(await grey.features(plane, 1)).features]).toEqual([...copies.features]);
  await expect(colour.features(plane, 1)).rejects.toThrow('400 bytes for 1 images of [3,20,20]; 1200 bytes expected');
  await grey.close();
  await colour.close();
});

test("pytorch-fid's form of the file, with the counts of training in it, holds the same weights", async () => {
  const { tensors } = await readSafetensors(weights);
  const path = join(scratch, 'formula.pth');
  const saved = [...tensors].flatMap(([name, t]): [string, SavedTensor][] => [
    [name, { shape: t.shape, data: toFloat32(t) }],
    ...(name.endsWith('running_var')
      ? [[name.replace('running_var', 'num_batches_tracked'), { shape: [], data: BigInt64Array.of(1n) }] as [string, SavedTensor]]
      : []),
  ]);
  writeTorchFile(path, new Map(saved));
  const [a, b] = [await readInceptionWeights(path), await readInceptionWeights(weights)];
  expect([...a.keys()].sort()).toEqual([...b.keys()].sort());
  const bits = (data: Float32Array): Buffer => Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  for (const [name, { shape, data }] of a)
    expect([name, shape, Buffer.compare(bits(data), bits(b.get(name)!.data))]).toEqual([name, b.get(name)!.shape, 0]);
});

describe('options', () => {
  test.each<[object, string]>([
    [{ tap: 100 }, 'tap: 100 is none of the Inception'],
    [{ convention: 'keras' }, "convention: there is no 'keras'; one of pytorch-fid, torch-fidelity, clean-fid expected"],
    [{ resize: 'torch_bilinea' }, 'resize: no resizer "torch_bilinea"'],
    [{ weights: join('no', 'such.pth') }, 'no such file'],
  ])('%j is refused', async (options, message) => {
    await expect(openInception({ weights, ...options } as object)).rejects.toThrow(message);
  });
  test('images that are too small for a tap, and the smallest that are not', async () => {
    for (const [tap, side] of [
      [64, 11],
      [192, 27],
      [768, 43],
      [2048, 75],
    ] as const) {
      const { scope } = recordingScope('net');
      expect(inception(scope, input('x', [1, 3, side, side])).features(tap).shape).toEqual([1, tap]);
      expect(() => inception(scope, input('x', [1, 3, side - 1, side])).map(tap)).toThrow();
    }
    const network = await openInception({ weights, resize: 'none' });
    const { values, shape } = network.prepare({ pixels: new Uint8Array(3 * 32 * 32), height: 32, width: 32 });
    await expect(network.run(values, 1, shape)).rejects.toThrow('inception: images of 32x32; tap 2048 needs 75x75 at least');
    await network.close();
  });
  test('weights of another network', async () => {
    const other = join(scratch, 'other.safetensors');
    await writeSafetensors(other, { 'fc.weight': fromFloat32(new Float32Array(4), [2, 2]) });
    await expect(openInception({ weights: other })).rejects.toThrow(
      'other.safetensors: the weights do not fit the network: fc.weight is [2,2], should be [1008,2048]; fc.bias [1008] is missing',
    );
  });
});

describe('where weights are found', () => {
  const environment = { XDG_CACHE_HOME: join(scratch, 'cache') };
  test('nowhere: the message says where they come from', async () => {
    await expect(inceptionWeights(null, { environment })).rejects.toThrow(
      /^weights: the FID Inception's are neither given \(--weights\), nor named by \$ONESTEP_INCEPTION_WEIGHTS, nor in .*; get pt_inception-2015-12-05-6726825d\.pth from https:\/\/github\.com\/mseitzer\/pytorch-fid\//,
    );
  });
  test('the path comes before the variable, and that before the folders', () => {
    const folder = join(scratch, 'cache/torch/hub/checkpoints');
    mkdirSync(folder, { recursive: true });
    const kept = join(folder, INCEPTION_FILES[0].file);
    writeFileSync(kept, 'x');
    const named = { ...environment, ONESTEP_INCEPTION_WEIGHTS: 'b.pth' };
    expect([findInceptionWeights('a.pth', named), findInceptionWeights(null, named), findInceptionWeights(null, environment)]).toEqual([
      'a.pth',
      'b.pth',
      kept,
    ]);
  });
  test('a published name with another sum is refused, or accepted on demand', async () => {
    const wrong = join(scratch, INCEPTION_FILES[1].file);
    writeFileSync(wrong, 'not the weights');
    const begins = sha256('not the weights').slice(0, 8);
    await expect(inceptionWeights(wrong)).rejects.toThrow(
      `${wrong}: its SHA-256 begins with ${begins}, that of the published file with 6726825d; get it again from https://github.com/mseitzer/pytorch-fid/`,
    );
    expect(await inceptionWeights(wrong, { accept: true })).toEqual({ path: wrong, sha256: sha256('not the weights'), published: false });
  });
});
