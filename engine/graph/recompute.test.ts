/** @file Gradients with recomputed values: the same numbers, less memory, no copies that an optimizer could merge, and nobody's network twice who is not trained. */
import { describe, expect, test } from 'vitest';
import { ortRuntime } from '../run/ort.ts';
import { programBytes } from '../run/ort-memory.ts';
import { float32 } from '../run/runtime.ts';
import { checkSlopes, uniform } from '../testing/gradcheck.ts';
import { parameterSource, pixelNet } from '../testing/nets.ts';
import * as G from './index.ts';
import { heldBytes, peakBytes } from './memory.ts';
import { recomputed } from './recompute.ts';
import { type Tensor, topological } from './tensor.ts';

const LAYERS = 12;
/** Residual blocks of one convolution each, on weights that are cut out of one vector. */
function deep(n: number, channels: number, side: number) {
  const shapes = Array.from({ length: LAYERS }, () => [[channels, channels, 3, 3], [channels]]).flat();
  const size = LAYERS * (9 * channels ** 2 + channels);
  const w = G.state('w', [size]);
  const parts = G.unpack(w, shapes);
  let h: Tensor = G.input('x', [n, channels, side, side]);
  for (let i = 0; i < LAYERS; i++)
    h = h.add(G.conv2d(G.silu(G.groupNorm(h, parts[2 * i + 1]!.add(1), G.fill(0, [channels]), 2)), parts[2 * i]!, { padding: 1 }));
  const loss = h.square().mean();
  const values = { w: uniform('w', size, -0.2, 0.2), x: uniform('x', n * channels * side * side) };
  return { w, loss, values, gradients: G.gradients(loss, [w]), size };
}

const opsOf = (tensors: readonly Tensor[]): string[] => topological(tensors).map((node) => node.op.name);
const countOf = (tensors: readonly Tensor[], name: string): number => opsOf(tensors).filter((op) => op === name).length;

describe('a deep chain of residual blocks', () => {
  const net = deep(2, 4, 4);
  const cut = recomputed({ loss: net.loss, trained: [net.w] }, net.gradients);

  test('has the same gradients to the last bit, in float64 and on ONNX Runtime', async () => {
    const run = (gs: readonly Tensor[]): Float64Array => G.evaluate(gs, net.values)[0]!.data;
    expect(run(cut)).toEqual(run(net.gradients));
    const runtime = ortRuntime({ threads: 1 });
    const state = runtime.state({ w: float32(Float32Array.from(net.values.w), [net.size]) });
    const feeds = { x: float32(Float32Array.from(net.values.x), [2, 4, 4, 4]) };
    const results = [];
    for (const [g] of [net.gradients, cut]) {
      const { p } = await runtime.compile({ p: { outputs: { loss: net.loss, g: g! }, updates: new Map() } }, state);
      results.push(await p!.run(feeds));
      await p!.close();
    }
    expect(results[1]).toEqual(results[0]);
  });

  test('equals central differences', () => {
    checkSlopes('recomputed', net.loss, cut, ['w'], net.values);
  });

  test('computes blocks again, and simplification does not merge them back', () => {
    const convolutions = (tensors: readonly Tensor[]): number => countOf(tensors, 'conv2d');
    expect(convolutions([net.loss, ...net.gradients])).toBe(LAYERS);
    const both = [net.loss, ...cut];
    expect(convolutions(both)).toBeGreaterThan(LAYERS + 3);
    expect(convolutions(both)).toBeLessThanOrEqual(2 * LAYERS);
    expect(convolutions(G.simplify(both))).toBe(convolutions(both));
  });

  test('can be differentiated again', () => {
    const second = G.gradients(G.sum(G.square(cut[0]!)), [net.w]);
    const plain = G.gradients(G.sum(G.square(net.gradients[0]!)), [net.w]);
    const [a, b] = [second, plain].map((g) => G.evaluate(g, net.values)[0]!.data);
    a!.forEach((v, i) => {
      expect(v).toBeCloseTo(b![i]!, 12);
    });
  });
});

test('takes less than half of the memory, and ONNX Runtime plans less', async () => {
  const { loss, w, gradients } = deep(8, 16, 16);
  const cut = recomputed({ loss, trained: [w] }, gradients);
  expect(peakBytes([loss, ...cut])).toBeLessThan(0.5 * peakBytes([loss, ...gradients]));
  expect(heldBytes([loss, ...cut])).toBeLessThan(0.6 * heldBytes([loss, ...gradients]));
  const planned = (gs: readonly Tensor[]): Promise<number> => programBytes({ outputs: { loss, g: gs[0]! }, updates: new Map() });
  expect(await planned(cut)).toBeLessThan(0.7 * (await planned(gradients)));
});

test('a network with attention and two resolutions has the same gradients', () => {
  const source = parameterSource((label, shape) => G.state(label, shape));
  const x = G.input('x', [2, 2, 4, 4]);
  const loss = G.sum(G.square(pixelNet(x, source.make)));
  const trained = source.parameters;
  const feeds = { ...source.values, x: uniform('x', 64) };
  const plain = G.gradients(loss, trained);
  const cut = recomputed({ loss, trained }, plain);
  const [a, b] = [plain, cut].map((gs) => G.evaluate(gs, feeds));
  expect(b).toEqual(a);
});

test('a network that only says a target is not computed twice', () => {
  const student = deep(2, 4, 4);
  const teacher = Array.from({ length: 6 }).reduce<Tensor>(
    (h) => G.tanh(G.linear(h, G.constant(uniform('teacher', 16), [4, 4]))),
    G.input('x', [2, 4, 4, 4]),
  );
  const loss = student.loss.add(G.square(teacher.sub(student.loss)).mean());
  const cut = recomputed({ loss, trained: [student.w] }, G.gradients(loss, [student.w]));
  expect(countOf([loss, ...cut], 'tanh')).toBe(6);
  expect(countOf([loss, ...cut], 'conv2d')).toBeGreaterThan(LAYERS);
});
