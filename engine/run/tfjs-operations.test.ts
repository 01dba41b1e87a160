/** @file Every operation on TensorFlow.js computes what float64 does, on both of its backends that need no native library. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import * as graph from '../graph/index.ts';
import { lowered } from '../graph/precision.ts';
import type { Tensor } from '../graph/tensor.ts';
import { allCases } from '../testing/cases/index.ts';
import { derivativesOf, type OpCase, pointsOf, type Values } from '../testing/gradcheck.ts';
import { expectClose, FLOAT32, hostFeeds } from '../testing/parity.ts';
import { tfjsRuntime } from './tfjs.ts';
import { kernelOf } from './tfjs-kernels.ts';
import { plainLibrary } from './tfjs-library.ts';

const BACKENDS = ['wasm', 'cpu'] as const;
const runtimeOn = (backend: (typeof BACKENDS)[number]) => tfjsRuntime(async () => (await plainLibrary(backend))!);

/** Runs on a backend and in float64. */
async function both(backend: (typeof BACKENDS)[number], outputs: readonly Tensor[], points: readonly (readonly [string, Values])[]) {
  const runtime = runtimeOn(backend);
  const named = Object.fromEntries(outputs.map((t, i) => [`output ${i}`, t]));
  const { program } = await runtime.compile({ program: { outputs: named, updates: new Map() } }, runtime.state({}));
  const found: { readonly where: string; readonly actual: readonly number[]; readonly wanted: readonly number[] }[] = [];
  for (const [point, values] of points) {
    const actual = await program!.run(hostFeeds(outputs, values));
    graph.evaluate(outputs, values).forEach(({ shape, data }, i) => {
      const own = actual[`output ${i}`]!;
      expect(own.shape, `output ${i} at ${point}`).toEqual(shape);
      found.push({ where: `output ${i} at ${point}`, actual: Array.from(own.data, Number), wanted: [...data] });
    });
  }
  await program!.close();
  return found;
}

describe.each(BACKENDS)('on %s: values, gradients, second order', (backend) => {
  test.each(allCases.map((c): [string, OpCase] => [`${c.op}: ${c.title}`, c]))('%s', async (_, c) => {
    const { y, first, second, projections } = derivativesOf(c);
    const points = pointsOf(c).map(([name, values]) => [name, { ...values, ...projections }] as const);
    for (const { where, actual, wanted } of await both(backend, [y, ...first, ...second], points))
      expectClose(where, actual, wanted, FLOAT32);
  });
});

test('every operation of the sources has a kernel', () => {
  const folder = new URL('../graph/ops/', import.meta.url);
  const sources = readdirSync(folder).filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'));
  const names = sources.flatMap((file) =>
    [...readFileSync(new URL(file, folder), 'utf8').matchAll(/^\s+name: '(\w+)',|\b(?:unary|binary)\(\s*'(\w+)'/gm)].map(
      ([, record, helper]) => record ?? helper!,
    ),
  );
  expect(names.length).toBeGreaterThan(50);
  for (const name of [...names, 'exact']) if (name !== 'leaf') expect(kernelOf(name), name).toBeTypeOf('function');
});

test('products in a lower precision are one line', async () => {
  const x = graph.input('x', [2, 2]);
  const [y] = lowered([graph.matmul(x, x)], 'bfloat16');
  const runtime = runtimeOn('wasm');
  await expect(runtime.compile({ half: { outputs: { y: y! }, updates: new Map() } }, runtime.state({}))).rejects.toThrow(
    /^tfjs: has no operation low; .*--device cpu$/,
  );
});

const SPECIAL = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, -0, 1, -1, 0.5, 1.5, 2.5, -2.5, 1e-3, 90, -90];
type Pair = (a: Tensor, b: Tensor) => Tensor;
const { add, sub, mul, div, maximum, minimum, less, lessOrEqual, greater, greaterOrEqual, equal, atan2 } = graph;
const PAIRS: Readonly<Record<string, Pair>> = {
  ...{ add, sub, mul, div, maximum, minimum, less, lessOrEqual, greater, greaterOrEqual, equal },
  atan2: (a, b) => atan2(a, add(b, 0.25)), // away from −0, which ONNX takes for 0
  where: (a, b) => graph.where(less(a, b), a, b),
};
const { neg, exp, log, sqrt, atan, tanh, sigmoid, erf, sign, floor, round, abs, relu, softplus, silu, isNaN: nan } = graph;
const SINGLES: Readonly<Record<string, (x: Tensor) => Tensor>> = {
  ...{ neg, exp, log, sqrt, atan, tanh, sigmoid, erf, sign, floor, round, abs, relu, softplus, nan },
  silu: (x) => silu(maximum(x, -20)), // −∞·0 is NaN anywhere
  clamp: (x) => graph.clamp(x, -1, 2),
  toBool: (x) => graph.cast(x, 'bool'),
  square: graph.square,
  cube: (x) => graph.pow(x, 3),
};
/** Alike to a float32's digits, and the same where it is no number. */
function expectSame(where: string, actual: readonly number[], wanted: readonly number[]): void {
  wanted.forEach((value, i) => {
    const rounded = Math.fround(value);
    const alike = Object.is(actual[i]! + 0, rounded + 0) || Math.abs(actual[i]! - value) <= 1e-6 * Math.max(Math.abs(value), 1);
    expect(alike, `${where}: value ${i} is ${actual[i]}, not ${value}`).toBe(true);
  });
}

describe.each(BACKENDS)('on %s, what is not finite', (backend) => {
  const n = SPECIAL.length;
  const all = SPECIAL.flatMap((a) => SPECIAL.map((b) => [a, b] as const));
  test.each(Object.entries(PAIRS))('%s', async (name, f) => {
    const values = { a: Float64Array.from(all, ([a]) => a), b: Float64Array.from(all, ([, b]) => b) };
    const y = f(graph.input('a', [n * n]), graph.input('b', [n * n]));
    const [{ actual, wanted }] = (await both(backend, [y], [['special values', values]])) as [Awaited<ReturnType<typeof both>>[number]];
    expectSame(name, actual, wanted);
  });
  test.each(Object.entries(SINGLES))('%s', async (name, f) => {
    const [{ actual, wanted }] = (await both(
      backend,
      [f(graph.input('x', [n]))],
      [['special values', { x: Float64Array.from(SPECIAL) }]],
    )) as [Awaited<ReturnType<typeof both>>[number]];
    expectSame(name, actual, wanted);
  });
  test('sums, largest values and products with a NaN anywhere', async () => {
    const x = graph.input('x', [3, 4]);
    const rows = Float64Array.from([1, 2, Number.NaN, 3, 4, 5, 6, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 7, 8, 9]);
    const image = graph.reshape(x, [1, 1, 3, 4]);
    const outputs = [
      graph.reduceSum(x, [1]),
      graph.reduceMax(x, [1]),
      graph.reduceMax(x, [0]),
      graph.matmul(x, graph.constant(new Float32Array(4).fill(1), [4, 1])),
      graph.maxPool(image, { kernel: 2, stride: 1 }),
      graph.averagePool(image, { kernel: 2, stride: 1 }),
    ];
    for (const { where, actual, wanted } of await both(backend, outputs, [['NaN and infinities', { x: rows }]]))
      expectSame(where, actual, wanted);
  });
});

describe.each(BACKENDS)('on %s, more axes than kernels take', (backend) => {
  const shape = [2, 1, 3, 2, 1, 2, 2, 2] as const; // 8 axes
  const size = shape.reduce<number>((a, b) => a * b, 1);
  const x = graph.input('x', shape);
  const narrow = graph.input('narrow', [1, 1, 3, 1, 1, 1, 2, 1]);
  const values = {
    x: Float64Array.from({ length: size }, (_, i) => i / 8 - 3),
    narrow: Float64Array.from([1, -2, 3, -4, 5, -6]),
  };
  const OUTPUTS: Readonly<Record<string, Tensor>> = {
    add: add(x, narrow),
    less: graph.cast(less(narrow, x), 'float32'),
    where: graph.where(greater(x, narrow), x, narrow),
    expand: graph.expand(narrow, shape),
    'transpose backwards': graph.transpose(x, [7, 6, 5, 4, 3, 2, 1, 0]),
    'transpose in runs': graph.transpose(x, [2, 3, 4, 0, 1, 5, 7, 6]),
    reduceSum: graph.reduceSum(x, [0, 2, 3, 6]),
    reduceMax: graph.reduceMax(x, [1, 2, 5, 7]),
    softmax: graph.softmax(x, 2),
    cumsum: graph.cumsum(x, 3),
    slice: graph.slice(x, 2, 0, 3, 2),
    pad: graph.pad(x, 5, 1, 2),
    concat: graph.concat([x, x], 6),
    flip: graph.flip(x, [2, 3, 7]),
    matmul: graph.matmul(x, x),
  };
  test('operands that broadcast along every second axis', async () => {
    const [even, odd] = [graph.input('even', [2, 1, 2, 1, 3, 1, 2, 1]), graph.input('odd', [1, 3, 1, 2, 1, 2, 1, 2])];
    const feeds = { even: Float64Array.from({ length: 24 }, (_, i) => i - 9), odd: Float64Array.from({ length: 24 }, (_, i) => i / 4 - 2) };
    for (const { where, actual, wanted } of await both(
      backend,
      [mul(even, odd), graph.where(less(even, odd), even, odd)],
      [['a point', feeds]],
    ))
      expectClose(where, actual, wanted, FLOAT32);
  });
  test.each(Object.entries(OUTPUTS))('%s', async (_, y) => {
    for (const { where, actual, wanted } of await both(backend, [y], [['a point', values]])) expectClose(where, actual, wanted, FLOAT32);
  });
});

test.each(BACKENDS)('on %s, whole numbers divide towards zero and keep all their digits', async (backend) => {
  const a = graph.input('a', [6], 'int64');
  const b = graph.input('b', [6], 'int64');
  const outputs = [
    div(a, b),
    sub(a, b),
    mul(a, b),
    graph.cast(less(a, b), 'int64'),
    maximum(a, b),
    graph.clamp(a, -5, 5),
    neg(a),
    abs(neg(a)),
    sign(a),
  ];
  const values = { a: Float64Array.from([7, -7, 7, -7, 2 ** 31 - 1, 16777217]), b: Float64Array.from([2, 2, -2, -2, 1, 1]) };
  for (const { where, actual, wanted } of await both(backend, outputs, [['whole numbers', values]])) expect(actual, where).toEqual(wanted);
});
