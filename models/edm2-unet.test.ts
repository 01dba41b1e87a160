/** @file The magnitude-preserving UNet: magnitudes through the network, a block against plain arithmetic, gradients, names and sizes. */
import { describe, expect, test } from 'vitest';
import { gradients } from '../engine/graph/gradients.ts';
import { mul } from '../engine/graph/ops/elementwise.ts';
import { input } from '../engine/graph/ops/leaf.ts';
import { sum } from '../engine/graph/ops/reduce.ts';
import { evaluate } from '../engine/graph/reference.ts';
import { fillNormal, streamKey } from '../engine/random/philox.ts';
import { checkSlopes } from '../engine/testing/gradcheck.ts';
import { resolve } from '../engine/train/options.ts';
import { initialise, recordingScope } from '../engine/train/weights.ts';
import { edmModel } from './edm.ts';
import { edm2Block, edm2UNet, edm2UNetFamily, edm2UNetOptions } from './edm2-unet.ts';

function normals(name: string, count: number): Float64Array {
  const out = new Float32Array(count);
  fillNormal(out, streamKey(0, 0, name), count);
  return Float64Array.from(out);
}
const rms = (v: ArrayLike<number>): number => Math.sqrt(Array.from(v).reduce((s, x) => s + x * x, 0) / v.length);
const tiny = { channels: 16, multipliers: [1, 2], blocks: 1, attention: [4], headChannels: 8, uncertaintyChannels: 8 };

test('names, shapes and the number of parameters of edm2-img512-xs', () => {
  // Karras et al. 2024, table 2: 125 million parameters for XS, on latents 64x64x4 with 1000 classes and 128 channels.
  const { scope, declared } = recordingScope('net');
  const { network } = edmModel('Precond', { img_resolution: 64, img_channels: 4, label_dim: 1000, model_channels: 128 }).build(scope);
  network.denoise(input('x', [1, 4, 64, 64]), input('sigma', [1, 1, 1, 1]));
  const count = [...declared.values()].filter((d) => d.trained).reduce((n, d) => n + d.shape.reduce((a, b) => a * b, 1), 0);
  expect(Math.round(count / 1e6)).toBe(125);
  const shapeOf = (name: string) => declared.get(name)?.shape;
  expect(shapeOf('unet.emb_fourier.freqs')).toEqual([128]);
  expect(shapeOf('unet.emb_label.weight')).toEqual([512, 1000]);
  expect(shapeOf('unet.enc.64x64_conv.weight')).toEqual([128, 5, 3, 3]);
  expect(shapeOf('unet.enc.16x16_block0.conv_skip.weight')).toEqual([384, 256, 1, 1]);
  expect(shapeOf('unet.enc.16x16_block0.attn_qkv.weight')).toEqual([1152, 384, 1, 1]);
  expect(shapeOf('unet.dec.8x8_in0.emb_gain')).toEqual([]);
  expect(shapeOf('unet.out_gain')).toEqual([]);
  expect(shapeOf('logvar_linear.weight')).toEqual([1, 128]);
});

/** A block in plain numbers: x [c,h,w], 3×3 filters with padding 1, as the paper's figure 21 draws it. */
function plainBlock(
  side: 'enc' | 'dec',
  x: number[][][],
  emb: number[],
  w: Readonly<Record<string, number[][]>>,
  gain: number,
): number[][][] {
  const unit = (v: readonly number[]): number[] => v.map((a) => a / (rms(v) + 1e-4));
  const rows = (m: number[][]): number[][] => m.map((r) => unit(r).map((v) => v / Math.sqrt(r.length)));
  const [h, width] = [x[0]!.length, x[0]![0]!.length];
  const at = (m: number[][][], c: number, i: number, j: number): number => m[c]![i]?.[j] ?? 0;
  const conv = (m: number[][][], name: string, k: number): number[][][] =>
    rows(w[name]!).map((row) =>
      Array.from({ length: h }, (_, i) =>
        Array.from({ length: width }, (_, j) =>
          row.reduce(
            (s, v, q) => s + v * at(m, Math.floor(q / (k * k)), i + (Math.floor(q / k) % k) - (k >> 1), j + (q % k) - (k >> 1)),
            0,
          ),
        ),
      ),
    );
  const map = (m: number[][][], f: (v: number, c: number, i: number, j: number) => number) =>
    m.map((p, c) => p.map((r, i) => r.map((v, j) => f(v, c, i, j))));
  const silu = (v: number): number => v / (1 + Math.exp(-v)) / 0.596;
  let y = x;
  if (side === 'enc') {
    y = conv(y, 'conv_skip', 1);
    const plain = y;
    y = map(plain, (v, _, i, j) => v / (rms(plain.map((p) => p[i]![j]!)) + 1e-4));
  }
  const scale = rows(w['emb_linear']!).map((row) => 1 + gain * row.reduce((s, v, q) => s + v * emb[q]!, 0));
  const first = map(conv(map(y, silu), 'conv_res0', 3), (v, c) => silu(v * scale[c]!));
  const second = conv(first, 'conv_res1', 3);
  const main = side === 'dec' ? conv(x, 'conv_skip', 1) : y;
  return map(main, (v, c, i, j) => (0.7 * v + 0.3 * second[c]![i]![j]!) / Math.sqrt(0.49 + 0.09));
}

describe.each(['enc', 'dec'] as const)('a block of the %s side', (side) => {
  test('agrees with plain arithmetic', () => {
    const [inside, out, h, width, e] = [3, 4, 3, 2, 5];
    const { scope, declared } = recordingScope('net');
    const o = resolve('x', edm2UNetOptions, {});
    const y = edm2Block(scope, input('x', [1, inside, h, width]), input('emb', [1, e]), { side, out }, o);
    const values = new Map(
      [...declared.values()].map(({ name, shape }) => [
        name,
        normals(
          name,
          shape.reduce((a, b) => a * b, 1),
        ),
      ]),
    );
    const feeds = {
      x: normals('x', inside * h * width),
      emb: normals('emb', e),
      ...Object.fromEntries([...values].map(([k, v]) => [`net/${k}`, v])),
    };
    const matrix = (name: string): number[][] => {
      const { shape } = declared.get(`${name}.weight`)!;
      const each = shape.slice(1).reduce((a, b) => a * b, 1);
      return Array.from({ length: shape[0]! }, (_, r) => [...values.get(`${name}.weight`)!.subarray(r * each, (r + 1) * each)]);
    };
    const names = ['conv_res0', 'conv_res1', 'emb_linear', 'conv_skip'];
    const x = Array.from({ length: inside }, (_, c) =>
      Array.from({ length: h }, (_, i) => [...feeds.x.subarray((c * h + i) * width, (c * h + i + 1) * width)]),
    );
    const want = plainBlock(
      side,
      x,
      [...feeds.emb],
      Object.fromEntries(names.map((name) => [name, matrix(name)])),
      values.get('emb_gain')![0]!,
    ).flat(2);
    for (const [i, v] of evaluate([y], feeds)[0]!.data.entries()) expect(v).toBeCloseTo(want[i]!, 10);
  });
});

test('attention: with one position it returns the normalised value, whatever queries and keys are', () => {
  const { scope, declared } = recordingScope('net');
  const o = resolve('x', edm2UNetOptions, { headChannels: 2, attentionBalance: 1, residualBalance: 0, activationClip: 0 });
  const c = 4;
  const y = edm2Block(scope, input('x', [1, c, 1, 1]), input('emb', [1, 2]), { side: 'dec', out: c, attention: true }, o);
  const values = Object.fromEntries(
    [...declared.values()].map(({ name, shape }) => [
      name,
      normals(
        name,
        shape.reduce((a, b) => a * b, 1),
      ),
    ]),
  );
  const x = normals('x', c);
  const unit = (v: readonly number[]): number[] => v.map((a) => a / (rms(v) + 1e-4));
  const row = (name: string, r: number): number[] =>
    unit([...values[`${name}.weight`]!.subarray(r * c, (r + 1) * c)]).map((v) => v / Math.sqrt(c));
  const dot = (a: readonly number[], b: ArrayLike<number>): number => a.reduce((s, v, i) => s + v * b[i]!, 0);
  // Value channel k stands at row 3k + 2; a head has two channels.
  const value = Array.from({ length: c }, (_, k) => dot(row('attn_qkv', 3 * k + 2), x));
  const mixed = [...unit(value.slice(0, 2)), ...unit(value.slice(2))];
  const want = Array.from({ length: c }, (_, k) => dot(row('attn_proj', k), mixed));
  const got = evaluate([y], { x, emb: normals('e', 2), ...Object.fromEntries(Object.entries(values).map(([k, v]) => [`net/${k}`, v])) })[0]!
    .data;
  for (const [i, v] of got.entries()) expect(v).toBeCloseTo(want[i]!, 10);
});

describe('a tiny network', () => {
  const built = (values: Readonly<Record<string, unknown>>, side: number) => {
    const o = resolve('x', edm2UNetOptions, values);
    const { scope, declared, tensors } = recordingScope('net');
    const net = edm2UNet(scope, o, { shape: [3, side, side], classes: 4 });
    const [x, noise, label] = [input('x', [2, 3, side, side]), input('noise', [2]), input('label', [2, 4])];
    const { output, features } = net(x, noise, { label });
    const weights = initialise(declared.values(), 3, 'net');
    const feeds = {
      x: normals('x', 6 * side ** 2),
      noise: Float64Array.of(-0.4, 0.7),
      label: Float64Array.of(1, 0, 0, 0, 0, 0, 1, 0),
      ...Object.fromEntries([...weights].map(([k, w]) => [`net/${k}`, Float64Array.from(w.data)])),
    };
    return { output, features, feeds, tensors, x };
  };
  test('starts at zero, and its maps have magnitudes around one', () => {
    const { output, features, feeds } = built(tiny, 8);
    const maps = Object.values(features);
    const [y, ...values] = evaluate([output, ...maps], feeds);
    expect(y!.data.every((v) => v === 0)).toBe(true); // out_gain starts at 0
    for (const v of values) expect(Math.abs(Math.log(rms(v.data)))).toBeLessThan(0.5);
  });
  test('gradients of weights, gains, image and label agree with central differences', () => {
    const { output, feeds, tensors, x } = built({ ...tiny, channels: 4, headChannels: 4, attention: [2] }, 4);
    const moved = { ...feeds, 'net/out_gain': Float64Array.of(0.8), 'net/enc.2x2_block0.emb_gain': Float64Array.of(0.5) };
    const cotangent = input('c', [2, 3, 4, 4]);
    const total = sum(mul(output, cotangent));
    const names = ['enc.4x4_conv.weight', 'enc.2x2_block0.emb_gain', 'dec.2x2_in0.attn_qkv.weight', 'emb_label.weight', 'out_gain'];
    const grads = gradients(total, [x, ...names.map((name) => tensors.get(name)!)]);
    checkSlopes('edm2', total, grads, ['x', ...names.map((name) => `net/${name}`)], { ...moved, c: normals('c', 96) });
  });
});

test.each([
  [{ multipliers: [1, 2] }, [3, 7, 8], 'edm2-unet: 2 levels need a height and width divisible by 2, got 7x8'],
  [{ multipliers: [1] }, [3], 'edm2-unet: samples [3] are not images'],
  [{ multipliers: [1], filter: [1, 2, 1] }, [3, 8, 8], 'edm2-unet: the resampling filter has 3 values; an even number expected'],
])('%j on %j is refused', (values, shape, message) => {
  const { scope } = recordingScope('net');
  const family = edm2UNetFamily.build(scope, resolve('x', edm2UNetOptions, { channels: 8, ...values }), { shape, classes: 0 });
  expect(() => family.denoise(input('x', [1, 3, 8, 8]), input('s', [1, 1, 1, 1]))).toThrow(message);
});
