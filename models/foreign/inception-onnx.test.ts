/** @file The FID Inception's weights out of ONNX files: every filter by its place, whatever the exporter did, and what is no such network. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { input } from '../../engine/graph/ops/leaf.ts';
import { sha256 } from '../../engine/io/atomic.ts';
import { fromFloat32, writeSafetensors } from '../../engine/io/safetensors.ts';
import { recordingScope, type Weights } from '../../engine/train/weights.ts';
import { openInception } from '../../eval/features/inception.ts';
import { inception } from './inception.ts';
import { readInceptionOnnx } from './inception-onnx.ts';
import { formulaWeights } from './testing/formula-weights.ts';
import { inceptionOnnx, type Written } from './testing/inception-onnx.ts';

const scratch = mkdtempSync(join(tmpdir(), 'inception-onnx-'));
afterAll(() => rmSync(scratch, { recursive: true }));
const { scope, declared } = recordingScope('net');
inception(scope, input('x', [1, 3, 299, 299])).logits();
const weights = formulaWeights(declared.values());
const written = (name: string, how: Written = {}): string => {
  const path = join(scratch, `${name}.onnx`);
  writeFileSync(path, inceptionOnnx(weights, how));
  return path;
};
/** The largest difference of any value, relative to the largest of its tensor; Infinity where names or shapes differ. */
function difference(a: Weights, b: Weights): number {
  if ([...a.keys()].sort().join() !== [...b.keys()].sort().join()) return Number.POSITIVE_INFINITY;
  let worst = 0;
  for (const [name, { shape, data }] of a) {
    const other = b.get(name)!;
    if (shape.join() !== other.shape.join()) return Number.POSITIVE_INFINITY;
    const size = data.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
    worst = Math.max(worst, data.reduce((most, v, i) => Math.max(most, Math.abs(v - other.data[i]!)), 0) / size);
  }
  return worst;
}

test('normalisations apart: the very same weights, in any order of the branches', { timeout: 60_000 }, async () => {
  expect(difference(await readInceptionOnnx(written('apart', { epsilon: 1e-3, classifier: 'Gemm' })), weights)).toBe(0);
  expect(difference(await readInceptionOnnx(written('reversed', { epsilon: 1e-3, classifier: 'MatMul', reversed: true })), weights)).toBe(
    0,
  );
  const bare = new Map([...weights].filter(([name]) => !name.startsWith('fc.')));
  // Another ε moves the variances by the difference, to rounding.
  expect(difference(await readInceptionOnnx(written('epsilon', { epsilon: 1e-5 })), bare)).toBeLessThan(2e-7);
});

test('folded, and without a classifier: the same features, no logits, and a name of its own', { timeout: 60_000 }, async () => {
  const path = written('folded', { reversed: true });
  const named = join(scratch, 'named.safetensors');
  await writeSafetensors(
    named,
    [...weights].map(([name, { data, shape }]) => [name, fromFloat32(data, shape)] as const),
  );
  const [a, b] = [await openInception({ weights: path, resize: 'none' }), await openInception({ weights: named, resize: 'none' })];
  expect([a.classes, b.classes]).toEqual([0, 1008]);
  const sum = sha256(inceptionOnnx(weights, { reversed: true }));
  expect([a.name, a.checksum, a.published]).toEqual([`FID Inception (weights ${sum.slice(0, 8)})`, sum, false]);
  const picture = { pixels: Uint8Array.from({ length: 3 * 75 * 75 }, (_, i) => (i * 7919) % 256), height: 75, width: 75 };
  const { values, shape } = a.prepare(picture);
  const [x, y] = [await a.run(values, 1, shape), await b.run(values, 1, shape)];
  expect(x.logits).toBeNull();
  const largest = Math.max(...y.features);
  expect(largest).toBeGreaterThan(0.1);
  expect(Math.max(...y.features.map((v, i) => Math.abs(v - x.features[i]!))) / largest).toBeLessThan(1e-5);
  await a.close();
  await b.close();
});

test('other networks are named with the place where they differ', async () => {
  const refused = async (path: string, message: RegExp): Promise<void> => {
    await expect(readInceptionOnnx(path)).rejects.toThrow(message);
  };
  await refused(
    written('other', { instead: { node: 2, opType: 'MaxPool' } }),
    /other\.onnx: is no FID Inception: at Conv2d_2b_3x3 it has MaxPool "\/Conv_2", should have Conv; give other networks with --features$/,
  );
  await refused(
    written('external', { external: true }),
    /external\.onnx: its weights .* lie in another file, so that its checksum says nothing of them; export it again as one file/,
  );
  writeFileSync(join(scratch, 'none.onnx'), 'no model');
  await refused(join(scratch, 'none.onnx'), /none\.onnx: is no ONNX (file|model)/);
});
