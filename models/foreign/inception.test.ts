/** @file The FID Inception on formula weights against pytorch-fid and torch-fidelity: names, gradients, taps. */
import { expect, test } from 'vitest';
import { toOnnx } from '../../engine/graph/onnx.ts';
import { mul, sub } from '../../engine/graph/ops/elementwise.ts';
import { input } from '../../engine/graph/ops/leaf.ts';
import { readSafetensors, toFloat32, toFloat64 } from '../../engine/io/safetensors.ts';
import { loadModel } from '../../engine/run/ort.ts';
import { float32 } from '../../engine/run/runtime.ts';
import { goldenPath } from '../../engine/testing/golden.ts';
import { constantScope, recordingScope } from '../../engine/train/weights.ts';
import { mismatches, readFacts } from '../testing/golden.ts';
import { INCEPTION_TAPS, inception } from './inception.ts';
import { fnv1a, formulaWeight, formulaWeights, hash32 } from './testing/formula-weights.ts';

/** Everything that the network asks for. */
function declaredWeights() {
  const { scope, declared } = recordingScope('net');
  inception(scope, input('x', [1, 3, 299, 299])).logits();
  return declared;
}
interface Formula {
  readonly fnv1a32: Readonly<Record<string, number>>;
  readonly hash32: Readonly<Record<string, number>>;
  readonly first_values: Readonly<Record<string, readonly number[]>>;
  readonly sum_float64: Readonly<Record<string, number>>;
}
const formulaPath = goldenPath('fid/formula.json');
const keysPath = goldenPath('fid/inception-keys.json');
const gradPath = goldenPath('fid/inception-grad.json');

test.skipIf(!formulaPath || !keysPath)('the formula of the weights', () => {
  const formula = readFacts<Formula>(formulaPath!);
  const { shapes } = readFacts<{ readonly shapes: Readonly<Record<string, readonly number[]>> }>(keysPath!);
  for (const [name, hash] of Object.entries(formula.fnv1a32)) expect([name, fnv1a(name)]).toEqual([name, hash]);
  for (const [x, hash] of Object.entries(formula.hash32)) expect([x, hash32(Number(x))]).toEqual([x, hash]);
  for (const [name, sum] of Object.entries(formula.sum_float64)) {
    const { data } = formulaWeight(name, shapes[name]!);
    expect([...data.subarray(0, 4)]).toEqual(formula.first_values[name]);
    expect(data.reduce((s, v) => s + v, 0)).toBeCloseTo(sum, 8);
  }
});

test.skipIf(!keysPath)('names and shapes are those of the published checkpoint', () => {
  const { shapes, parameters } = readFacts<{ readonly shapes: Readonly<Record<string, readonly number[]>>; readonly parameters: number }>(
    keysPath!,
  );
  const declared = declaredWeights();
  const weights = Object.entries(shapes).filter(([name]) => !name.endsWith('num_batches_tracked'));
  expect(Object.fromEntries([...declared].map(([name, { shape }]) => [name, shape]))).toEqual(Object.fromEntries(weights));
  const trained = [...declared.values()].filter((d) => d.trained).reduce((n, d) => n + d.shape.reduce((a, b) => a * b, 1), 0);
  expect(trained).toBe(parameters);
});

test('maps of 299x299 have the sizes of the paper', () => {
  const { scope } = recordingScope('net');
  const net = inception(scope, input('x', ['N', 3, 299, 299]));
  // Szegedy et al. 2016, table 1: 73×73×64, 35×35×192, 17×17×768 and 2048 after the last pooling.
  expect(INCEPTION_TAPS.map((tap) => net.map(tap).shape)).toEqual([
    ['N', 64, 73, 73],
    ['N', 192, 35, 35],
    ['N', 768, 17, 17],
    ['N', 2048, 1, 1],
  ]);
  expect(() => inception(scope, input('x', [1, 1, 32, 32]))).toThrow('inception: needs images [N,3,H,W], got float32[1,1,32,32]');
});

test.skipIf(!gradPath)('gradients in the image and in weights', async () => {
  const { tolerance } = readFacts<{ readonly tolerance: { readonly absolute: Readonly<Record<string, number>> } }>(
    gradPath!,
  ) as unknown as {
    readonly tolerance: { readonly absolute: Readonly<Record<string, number>> };
  };
  const { tensors } = await readSafetensors(gradPath!.replace(/json$/, 'safetensors'));
  const bytes = toFloat32(tensors.get('image')!);
  const image = Float32Array.from(bytes, (v) => v / 255);
  const batch = (data: Float32Array, shape: readonly number[]) => ({
    dtype: 'F32' as const,
    shape,
    bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  });
  const { scope, declared } = recordingScope('net');
  inception(scope, input('x', [1, 3, 80, 96])).features(2048);
  const parameters = Object.keys(tolerance.absolute)
    .filter((name) => /^grad\.[A-Z]/.test(name))
    .map((name) => name.slice('grad.'.length));
  const golden = {
    facts: { cases: [], tolerance: tolerance.absolute },
    tensors: new Map([
      ...tensors,
      ['x', batch(image, [1, 3, 80, 96])] as const,
      ['c', batch(toFloat32(tensors.get('cotangent')!), [1, 2048])] as const,
    ]),
  };
  const test = {
    name: 'inception-grad',
    inputs: { x: 'x' },
    outputs: { y: 'features' },
    cotangents: { y: 'c' },
    gradients: { inputs: { x: 'grad.input' }, parameters: Object.fromEntries(parameters.map((name) => [name, `grad.${name}`])) },
  };
  const faults = await mismatches(golden, test, (s, { x }) => inception(s, sub(mul(x!, 2), 1)).features(2048), {
    weights: formulaWeights(declared.values()),
  });
  expect(faults).toEqual([]);
});

const mapsPath = goldenPath('fid/inception.json');
test.skipIf(!mapsPath)('points of the maps before they are averaged', async () => {
  const { tensors } = await readSafetensors(mapsPath!.replace(/json$/, 'safetensors'));
  const { tolerance } = readFacts<object>(mapsPath!) as unknown as { readonly tolerance: { readonly absolute: number } };
  const stored = tensors.get('image.c')!; // 299×299: no resizing
  const image = Float32Array.from(toFloat32(stored), (v) => (2 * v) / 255 - 1);
  const weights = formulaWeights(declaredWeights().values());
  const net = inception(constantScope(weights), input('x', [1, 3, 299, 299]));
  const taps = [64, 192, 768] as const;
  const model = await loadModel(toOnnx(Object.fromEntries(taps.map((tap) => [`map${tap}`, net.map(tap)])), { target: 'cpu' }), {
    threads: 2,
  });
  const found = await model.run({ x: float32(image, [1, 3, 299, 299]) });
  await model.close();
  for (const tap of taps) {
    const { data, shape } = found[`map${tap}`]!;
    const [, , h, w] = shape as [number, number, number, number];
    const places = toFloat64(tensors.get(`pytorch_fid.no_resize.c.map${tap}.chw_index`)!);
    const values = toFloat64(tensors.get(`pytorch_fid.no_resize.c.map${tap}.values`)!);
    const far = values.map((v, i) =>
      Math.abs(v - (data as Float32Array)[(places[3 * i]! * h + places[3 * i + 1]!) * w + places[3 * i + 2]!]!),
    );
    expect(Math.max(...far), `map${tap}`).toBeLessThan(tolerance.absolute);
  }
});
