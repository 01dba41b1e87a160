/** @file LPIPS against the authors' package on formula trunks and their own heads: value, layers, map, gradient; heads alone in float64. */
import { describe, expect, test } from 'vitest';
import { input } from '../../engine/graph/ops/leaf.ts';
import { concat, reshape } from '../../engine/graph/ops/movement.ts';
import { reduceMean } from '../../engine/graph/ops/reduce.ts';
import { evaluate } from '../../engine/graph/reference.ts';
import { fromFloat32, readSafetensors, toFloat32, toFloat64 } from '../../engine/io/safetensors.ts';
import { goldenPath } from '../../engine/testing/golden.ts';
import { constantScope, recordingScope, type Weights } from '../../engine/train/weights.ts';
import { mismatches, readFacts } from '../testing/golden.ts';
import { LPIPS_NETS, type LpipsNet, lpips, lpipsFeatures, lpipsHead, readLpipsWeights } from './lpips.ts';
import { formulaWeights } from './testing/formula-weights.ts';

interface NetFacts {
  readonly trunk_keys: readonly string[];
  readonly trunk_shapes: readonly (readonly number[])[];
  readonly feature_shapes: readonly (readonly number[])[];
  readonly tolerance: { readonly value: number; readonly grad: number; readonly spatial: number };
}
const path = goldenPath('metrics/lpips.json');
const facts = path
  ? (readFacts<{ readonly nets: Readonly<Record<LpipsNet, NetFacts>> }>(path).nets as Readonly<Record<LpipsNet, NetFacts>>)
  : null;
const stored = path ? (await readSafetensors(path.replace(/json$/, 'safetensors'))).tensors : new Map();

describe.skipIf(!path).each(LPIPS_NETS)('%s', (net) => {
  const {
    trunk_keys: keys,
    trunk_shapes: shapes,
    feature_shapes: sizes,
    tolerance,
  } = facts?.[net] ?? ({ trunk_keys: [] } as unknown as NetFacts);
  const weights = (): Weights => {
    const trunk = formulaWeights(keys.map((name, i) => ({ name, shape: shapes[i]! })));
    const heads = sizes.map((_, i): readonly [string, { shape: readonly number[]; data: Float32Array }] => {
      const head = stored.get(`${net}.lin${i}.model.1.weight`)!;
      return [`lin${i}.model.1.weight`, { shape: head.shape, data: toFloat32(head) }];
    });
    return new Map([...trunk, ...heads]);
  };
  test('value, layers, map and gradient', async () => {
    const images = ['image0', 'image1'].map((name) => {
      const { shape } = stored.get(`${net}.${name}`)!;
      return fromFloat32(
        Float32Array.from(toFloat32(stored.get(`${net}.${name}`)!), (v) => v / 127.5 - 1),
        [1, ...shape],
      );
    });
    const golden = {
      facts: {
        cases: [],
        tolerance: { 'x.value': tolerance.value, 'x.per_layer': tolerance.value, 'x.spatial': tolerance.spatial, 'x.grad': tolerance.grad },
      },
      tensors: new Map([
        ['a', images[0]!],
        ['b', images[1]!],
        ['one', fromFloat32(Float32Array.of(1), [1])],
        ...(['value', 'per_layer', 'spatial'] as const).map((name) => [`x.${name}`, stored.get(`${net}.${name}`)!] as const),
        ['x.grad', stored.get(`${net}.grad.image0`)!] as const,
      ]),
    };
    const test = {
      name: net,
      inputs: { a: 'a', b: 'b' },
      outputs: { value: 'x.value', layers: 'x.per_layer', map: 'x.spatial' },
      cotangents: { value: 'one' },
      gradients: { inputs: { a: 'x.grad' }, parameters: {} },
    };
    const faults = await mismatches(
      golden,
      test,
      (scope, { a, b }) => {
        const { distance, layers, map } = lpips(scope, net, a!, b!);
        return { value: distance, layers: concat([...layers], 0), map: map() };
      },
      { weights: weights() },
    );
    expect(faults).toEqual([]);
  });
  test('names and sizes of the maps', () => {
    const { scope, declared } = recordingScope('net');
    const [, , h, w] = net === 'vgg' ? [1, 3, 48, 64] : [1, 3, 64, 64];
    const maps = lpipsFeatures(scope, net, input('x', [1, 3, h!, w!]));
    expect(maps.map((m) => m.shape)).toEqual(sizes);
    expect(Object.fromEntries([...declared].map(([k, { shape }]) => [k, shape]))).toEqual(
      Object.fromEntries(keys.map((k, i) => [k, shapes[i]!])),
    );
  });
});

test.skipIf(!path).each([0, 1])('head %d on given features, a vector of zeros among them', (i) => {
  const [a, b, out] = ['f0', 'f1', 'out'].map((name) => stored.get(`head.${i}.${name}`)!);
  const head = stored.get(`head.${i}.weight`)!;
  const scope = constantScope(new Map([[`lin${i}.model.1.weight`, { shape: head.shape, data: toFloat32(head) }]]));
  const map = lpipsHead(scope, i, input('a', a!.shape), input('b', b!.shape));
  const [got] = evaluate([reshape(reduceMean(map, [2, 3]), [2])], { a: toFloat64(a!), b: toFloat64(b!) });
  for (const [j, want] of toFloat64(out!).entries()) expect(Math.abs(got!.data[j]! - want)).toBeLessThan(1e-7 * Math.max(1, want)); // stored in float32
});

test('an image has no distance to itself, and the order does not matter', () => {
  const { scope, declared } = recordingScope('net');
  const [a, b] = [input('a', [2, 3, 35, 35]), input('b', [2, 3, 35, 35])];
  const outputs = [lpips(scope, 'squeeze', a, a), lpips(scope, 'squeeze', a, b), lpips(scope, 'squeeze', b, a)].map((d) => d.distance);
  const weights = formulaWeights(declared.values());
  const positive = new Map([...weights].map(([k, w]) => [k, k.startsWith('lin') ? { ...w, data: w.data.map(Math.abs) } : w]));
  const image = (salt: number): Float64Array => Float64Array.from({ length: 2 * 3 * 35 * 35 }, (_, i) => Math.sin(i * salt));
  const [none, there, back] = evaluate(outputs, {
    a: image(0.7),
    b: image(1.3),
    ...Object.fromEntries([...positive].map(([k, w]) => [`net/${k}`, Float64Array.from(w.data)])),
  });
  expect([...none!.data]).toEqual([0, 0]);
  for (const [i, v] of there!.data.entries()) {
    expect(v).toBeGreaterThan(0);
    expect(back!.data[i]).toBeCloseTo(v, 14);
  }
}, 20_000);

const pth = goldenPath('metrics/lpips-weights/alex.pth');
test.skipIf(!pth)("the authors' file of heads is read, and one without a trunk is named", async () => {
  await expect(readLpipsWeights({ trunk: pth!, heads: pth! })).rejects.toThrow(
    'alex.pth: no weights of a trunk of LPIPS in it; names begin with features.',
  );
});
test('images that differ in shape or have other channels', () => {
  const { scope } = recordingScope('net');
  expect(() => lpips(scope, 'alex', input('a', [1, 3, 64, 64]), input('b', [2, 3, 64, 64]))).toThrow(
    'lpips: images of one shape are needed',
  );
  expect(() => lpips(scope, 'alex', input('a', [1, 1, 64, 64]), input('b', [1, 1, 64, 64]))).toThrow('lpips: needs images [N,3,H,W]');
});
