/** @file Programs on TensorFlow.js: state, holding back, commits, sums, memory, and what is said where something is missing. */
import { describe, expect, test } from 'vitest';
import '../graph/fluent.ts';
import { add, cast, div, isNaN as nan, not } from '../graph/ops/elementwise.ts';
import { constant, input, state } from '../graph/ops/leaf.ts';
import { matmul } from '../graph/ops/linalg.ts';
import { concat, reshape, slice } from '../graph/ops/movement.ts';
import { reduceSum, sum } from '../graph/ops/reduce.ts';
import { gather } from '../graph/ops/select.ts';
import { float32, int64, type Runtime, scalar } from './runtime.ts';
import { tfjsRuntime } from './tfjs.ts';
import { findLibrary, plainLibrary } from './tfjs-library.ts';

const numbers = (...values: readonly number[]) => float32(Float32Array.from(values), [values.length]);
const valuesOf = async (of: ReturnType<Runtime['state']>, name: string): Promise<number[]> =>
  Array.from((await of.read(name)).data as Float32Array);
const runtime = tfjsRuntime();

test('programs share a state; what is held is seen by nobody before its release', async () => {
  const w = state('w', [2]);
  const x = input('x', [2]);
  const memory = runtime.state({ w: numbers(1, 2), unused: scalar(7) });
  const { step, look } = await runtime.compile(
    {
      step: { outputs: { before: w }, updates: new Map([[w, add(w, x)]]) },
      look: { outputs: { w, x: x.mul(2) }, updates: new Map() },
    },
    memory,
  );
  expect(step!.inputs).toEqual([{ name: 'x', dtype: 'float32' }]);
  const x1 = { x: numbers(10, 20) };
  expect((await step!.run(x1, true))['before']).toEqual(numbers(1, 2));
  expect((await look!.run(x1))['w']).toEqual(numbers(1, 2));
  step!.release();
  expect((await look!.run(x1))['w']).toEqual(numbers(11, 22));
  await step!.run(x1);
  expect(await valuesOf(memory, 'w')).toEqual([21, 42]);
  await memory.write('w', numbers(5, 6));
  await step!.run(x1);
  await step!.close();
  await look!.close();
  expect(await valuesOf(memory, 'w')).toEqual([15, 26]);
  expect(await valuesOf(memory, 'unused')).toEqual([7]);
  expect(memory.names()).toEqual(['w', 'unused']);
});

test('a state that becomes what was fed, what it was, or another one keeps a copy of its own', async () => {
  const [a, b, c] = ['a', 'b', 'c'].map((label) => state(label, [2])) as [
    ReturnType<typeof state>,
    ReturnType<typeof state>,
    ReturnType<typeof state>,
  ];
  const x = input('x', [2]);
  const memory = runtime.state({ a: numbers(1, 2), b: numbers(3, 4), c: numbers(5, 6) });
  const updates = new Map([
    [a, x],
    [b, a],
    [c, reshape(reshape(b, [2, 1]), [2])],
  ]);
  const { step } = await runtime.compile({ step: { outputs: {}, updates } }, memory);
  const fed = Float32Array.of(7, 8);
  for (let i = 0; i < 3; i++) {
    await step!.run({ x: float32(fed, [2]) });
    fed.fill(-1); // the caller may use its memory again
    if (i === 0)
      expect(await Promise.all(['a', 'b', 'c'].map((name) => valuesOf(memory, name)))).toEqual([
        [7, 8],
        [1, 2],
        [3, 4],
      ]);
  }
  expect(await Promise.all(['a', 'b', 'c'].map((name) => valuesOf(memory, name)))).toEqual([
    [-1, -1],
    [-1, -1],
    [7, 8],
  ]);
  await step!.close();
});

test('float16 goes in and out as its bits, bytes as bytes', async () => {
  // 1, −2, 2⁻²⁴, 65504 and infinity. IEEE 754, binary16.
  const bits = Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x7bff, 0x7c00);
  const memory = runtime.state({
    half: { dtype: 'float16', shape: [5], data: bits },
    bytes: { dtype: 'uint8', shape: [3], data: Uint8Array.of(0, 128, 255) },
  });
  const [half, bytes] = [state('half', [5], 'float16'), state('bytes', [3], 'uint8')];
  const outputs = { half, wide: cast(half, 'float32'), numbers: cast(bytes, 'float32').sub(128) };
  const { program } = await runtime.compile({ program: { outputs, updates: new Map([[bytes, bytes]]) } }, memory);
  expect(await program!.run({})).toEqual({
    half: { dtype: 'float16', shape: [5], data: bits },
    wide: numbers(1, -2, 2 ** -24, 65504, Number.POSITIVE_INFINITY),
    numbers: numbers(-128, 0, 127),
  });
  await program!.close();
  expect(await memory.read('half')).toEqual({ dtype: 'float16', shape: [5], data: bits });
  expect(await memory.read('bytes')).toEqual({ dtype: 'uint8', shape: [3], data: Uint8Array.of(0, 128, 255) });
});

test('where commit is 0 the state stays as it was, held or not', async () => {
  const w = state('w', []);
  const x = input('x', []);
  const next = add(w, x);
  const memory = runtime.state({ w: scalar(1) });
  const { step } = await runtime.compile(
    { step: { outputs: { next }, updates: new Map([[w, next]]), commit: cast(not(nan(next)), 'float32') } },
    memory,
  );
  expect(await step!.run({ x: scalar(Number.NaN) })).toEqual({ next: scalar(Number.NaN), commit: scalar(0) });
  expect(await valuesOf(memory, 'w')).toEqual([1]);
  expect((await step!.run({ x: scalar(2) }, true))['commit']).toEqual(scalar(1));
  await step!.run({ x: scalar(Number.NaN) }, true); // takes the place of what was held
  step!.release();
  expect(await valuesOf(memory, 'w')).toEqual([1]);
  await step!.close();
});

test('sums over parts have the bits of parts that are added up one by one in float32', async () => {
  const total = state('total', [3]);
  const x = input('x', ['N', 3]);
  const weights = constant(
    Float32Array.from({ length: 9 }, (_, i) => 1 / (i + 1)),
    [3, 3],
  );
  const part = reshape(reduceSum(matmul(x.mul(x), weights), [0]), [3]);
  const program = { outputs: { loss: sum(part) }, updates: new Map([[total, part]]) };
  const feeds = [1, 2, 3, 4].map((k) => ({
    x: float32(
      Float32Array.from({ length: 3 * k }, (_, i) => Math.sin(i + k)),
      [k, 3],
    ),
  }));
  const [alone, together] = [runtime.state({ total: numbers(0, 0, 0) }), runtime.state({ total: numbers(9, 9, 9) })];
  const { one } = await runtime.compile({ one: program }, alone);
  const { all } = await runtime.compileSums({ all: program }, together, 2);
  const wanted = new Float32Array(3);
  const losses: unknown[] = [];
  for (const [i, feed] of feeds.entries()) {
    losses.push(await one!.run(feed));
    const found = await valuesOf(alone, 'total');
    for (let k = 0; k < 3; k++) wanted[k] = i === 0 ? found[k]! : wanted[k]! + found[k]!;
  }
  expect(await all!.run(feeds)).toEqual(losses);
  expect(await valuesOf(together, 'total')).toEqual([...wanted]);
  await one!.close();
  await all!.close();
});
describe('memory', () => {
  test('nothing is left over in a thousand steps, of programs that hold, skip and share, nor after closing', async () => {
    const { tf } = await findLibrary();
    const start = tf.memory();
    const [w, m] = [state('w', [4]), state('m', [4])];
    const x = input('x', [2, 2]);
    const grad = concat([reshape(matmul(x, x), [4]), constant(Float32Array.of(1, 2), [2])], 0);
    const next = add(w.mul(0.9), slice(grad, 0, 1, 5));
    const step = {
      outputs: { loss: sum(next), flat: reshape(x, [4]), same: w },
      updates: new Map([
        [w, next],
        [m, reshape(x, [4])],
      ]),
      commit: cast(not(nan(sum(next))), 'float32'),
    };
    const memory = runtime.state({ w: numbers(1, 2, 3, 4), m: numbers(0, 0, 0, 0) });
    const programs = await runtime.compile({ step, other: { outputs: { m }, updates: new Map([[m, m.mul(0.5)]]) } }, memory);
    const parts = { outputs: {}, updates: new Map([[m, reshape(x, [4])]]) };
    const sums = await runtime.compileSums({ parts }, memory, 1);
    const seen = new Set<string>();
    for (let i = 0; i < 1000; i++) {
      const feeds = { x: float32(Float32Array.of(0.1, 0.2, i % 7 === 3 ? Number.NaN : 0.3, 0.1), [2, 2]) };
      await programs['step']!.run(feeds, i % 3 === 0);
      await programs['other']!.run({}, i % 3 === 0);
      if (i % 5 === 0) await sums['parts']!.run([feeds, feeds]);
      for (const one of Object.values(programs)) one.release();
      if (i % 100 === 0) await memory.read('w');
      const { numTensors, numDataBuffers, numBytes } = tf.memory();
      seen.add([numTensors, numDataBuffers, numBytes].join());
    }
    expect(seen.size, [...seen].join(' ')).toBe(1);
    for (const one of [...Object.values(programs), ...Object.values(sums)]) await one.close();
    expect(tf.memory()).toEqual(start);
    expect((await memory.read('w')).shape).toEqual([4]);
  });
  test('nothing is left over where a run fails', async () => {
    const { tf } = await findLibrary();
    const rows = gather(input('x', [3]).mul(2), input('i', [2], 'int64'), 0);
    const memory = runtime.state({});
    const { pick } = await runtime.compile({ pick: { outputs: { rows }, updates: new Map() } }, memory);
    const start = tf.memory().numTensors;
    const x = numbers(1, 2, 3);
    await expect(pick!.run({ x, i: int64(BigInt64Array.of(0n, 3n), [2]) })).rejects.toThrow('gather: index 3 is not in [0, 2]');
    await expect(pick!.run({ x, i: int64(BigInt64Array.of(0n, 2n ** 31n), [2]) })).rejects.toThrow(
      /^tfjs: pick: i holds 2147483648; its whole numbers have 32 bits, up to 2147483647: take --device cpu$/,
    );
    await expect(pick!.run({ x })).rejects.toThrow('pick: no value fed for i');
    expect(tf.memory().numTensors).toBe(start);
    expect((await pick!.run({ x, i: int64(BigInt64Array.of(2n, 0n), [2]) }))['rows']).toEqual(numbers(6, 2));
    await pick!.close();
  });
});

describe('what is fed', () => {
  test('takes any batch, of one size', async () => {
    const outputs = { y: div(input('x', ['N', 2]), input('twice', ['2N', 1]).reshape(['N', 2])) };
    const { divide } = await runtime.compile({ divide: { outputs, updates: new Map() } }, runtime.state({}));
    for (const n of [1, 3]) {
      const ones = new Float32Array(2 * n).fill(1);
      const found = await divide!.run({
        x: float32(
          ones.map(() => 6),
          [n, 2],
        ),
        twice: float32(
          ones.map((_, i) => i + 1),
          [2 * n, 1],
        ),
      });
      expect(found['y']).toEqual(
        float32(
          ones.map((_, i) => 6 / (i + 1)),
          [n, 2],
        ),
      );
    }
    const wrong = divide!.run({ x: float32(new Float32Array(4), [2, 2]), twice: float32(new Float32Array(6), [6, 1]) });
    await expect(wrong).rejects.toThrow('divide: twice is float32[4,1], got float32[6,1]');
    await divide!.close();
  });
  test('a state of another runtime, and an update of what is no state, are told', async () => {
    const x = input('x', []);
    await expect(runtime.compile({}, { names: () => [] } as unknown as ReturnType<Runtime['state']>)).rejects.toThrow('another runtime');
    await expect(runtime.compile({ wrong: { outputs: {}, updates: new Map([[x, x]]) } }, runtime.state({}))).rejects.toThrow(
      'only states can be updated',
    );
    await expect(runtime.state({ w: scalar(1) }).write('w', numbers(1, 2))).rejects.toThrow('w holds 1 values, got 2');
    await expect(runtime.state({ w: scalar(1) }).read('v')).rejects.toThrow('there is no v; there are w');
  });
});

describe('which package is taken', () => {
  const fake = (name: string) => ({ version: { 'tfjs-node': '4.22.0' }, version_core: '4.0.0', getBackend: () => `that of ${name}` });
  test('the GPU first, then the native CPU, then WebAssembly, then JavaScript', async () => {
    const asked: string[] = [];
    const taken = async (has: readonly string[]): Promise<string> =>
      (
        await findLibrary(async (name) => {
          asked.push(name);
          return has.includes(name) ? fake(name) : null;
        })
      ).words;
    const [gpu, node] = ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node'];
    expect(await taken([gpu, node])).toBe(`${gpu} 4.22.0, backend that of ${gpu}`);
    expect(await taken([node])).toBe(`${node} 4.22.0, backend that of ${node}`);
    expect(asked).toEqual([gpu, gpu, node]);
    expect((await plainLibrary('wasm'))!.words).toBe('@tensorflow/tfjs-core 4.22.0, backend wasm');
  });
  test('one that does not load is told, and the next one taken', async () => {
    const { words } = await findLibrary(async (name) => {
      if (name === '@tensorflow/tfjs-node-gpu') throw new Error('libcudart.so.11.0: cannot open shared object file\n    at dlopen');
      return name === '@tensorflow/tfjs-node' ? fake(name) : null;
    });
    expect(words).toMatch(/; @tensorflow\/tfjs-node-gpu does not load: libcudart.so.11.0: cannot open shared object file$/);
  });
  test('none is one line', async () => {
    await expect(findLibrary(async () => null)).rejects.toThrow(/^tfjs: TensorFlow.js is not installed$/);
  });
});
