/** @file Products in float16 and bfloat16: the values of rounding by hand, in the interpreter and in ONNX Runtime; derivatives that are marked stay exact. */
import './fluent.ts';
import * as ort from 'onnxruntime-node';
import { describe, expect, test } from 'vitest';
import { fillNormal, streamKey } from '../random/philox.ts';
import { ortRuntime } from '../run/ort.ts';
import { float32 } from '../run/runtime.ts';
import { convolutionCases } from '../testing/cases/conv.ts';
import { linalgCases } from '../testing/cases/reduce.ts';
import { gradients, jvp } from './gradients.ts';
import { toOnnx } from './onnx.ts';
import { conv2d } from './ops/conv.ts';
import { input } from './ops/leaf.ts';
import { matmul } from './ops/linalg.ts';
import { exact, lowered, roundTo } from './precision.ts';
import { evaluate } from './reference.ts';
import { type Tensor, topological } from './tensor.ts';

const values = (name: string, n: number): Float32Array => {
  const data = new Float32Array(n);
  fillNormal(data, streamKey(1, 0, name), n);
  return data;
};
const lowOps = (outputs: readonly Tensor[]): number => topological(outputs).filter(({ op }) => op.name === 'low').length;

describe('rounding', () => {
  test.each([
    ['float16', 1 + 2 ** -11, 1],
    ['float16', 1 + 3 * 2 ** -11, 1 + 2 ** -9],
    ['float16', 65519, 65504],
    ['float16', 65520, Number.POSITIVE_INFINITY],
    ['float16', 2 ** -25, 0],
    ['float16', 3 * 2 ** -25, 2 ** -23],
    ['float16', -0.1, -0.0999755859375],
    ['bfloat16', 1 + 2 ** -8, 1],
    ['bfloat16', 1 + 3 * 2 ** -8, 1 + 2 ** -6],
    ['bfloat16', 1e38, 9.969209968386869e37],
    ['bfloat16', Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
  ] as const)('%s of %d is %d', (type, given, wanted) => {
    expect(roundTo[type](given)).toBe(wanted);
  });
  test('NaN stays', () => {
    for (const round of Object.values(roundTo)) expect(round(Number.NaN)).toBeNaN();
  });
});

describe.each(['float16', 'bfloat16'] as const)('%s', (precision) => {
  const round = roundTo[precision];
  const a = values('a', 6);
  const b = values('b', 12);
  test('a product takes and gives rounded values, by ONNX Runtime as by hand', async () => {
    const y = matmul(input('a', [2, 3]), input('b', [3, 4])).mul(3);
    const [low] = lowered([y], precision) as [Tensor];
    const wanted = Array.from({ length: 8 }, (_, i) => {
      const [r, c] = [Math.floor(i / 4), i % 4];
      return 3 * round([0, 1, 2].reduce((sum, k) => sum + round(a[r * 3 + k]!) * round(b[k * 4 + c]!), 0));
    });
    const [interpreted] = evaluate([low], { a, b });
    for (const [i, v] of wanted.entries()) expect(interpreted!.data[i]).toBeCloseTo(v, 6);
    const runtime = ortRuntime({ threads: 1 });
    const { program } = await runtime.compile({ program: { outputs: { low }, updates: new Map() } }, runtime.state({}));
    const found = await program!.run({ a: float32(a, [2, 3]), b: float32(b, [3, 4]) });
    await program!.close();
    for (const [i, v] of wanted.entries()) expect(Number(found['low']!.data[i])).toBeCloseTo(v, 5);
    // What was rounded differs from what was not.
    expect(Math.max(...evaluate([y], { a, b })[0]!.data.map((v, i) => Math.abs(v - wanted[i]!)))).toBeGreaterThan(1e-4);
  });
  test('products of the backward pass too, nothing else', () => {
    const x = input('x', [1, 2, 4, 4]);
    const w = input('w', [3, 2, 3, 3]);
    const y = conv2d(x, w, { padding: 1 }).square().sum();
    const outputs = lowered([y, ...(gradients(y, [x, w]) as Tensor[])], precision);
    expect(lowOps(outputs)).toBe(3); // the convolution, the gradients of its input and of its filter
    const feeds = { x: values('x', 32), w: values('w', 54) };
    const [plain, low] = [evaluate([y, ...(gradients(y, [x, w]) as Tensor[])], feeds), evaluate(outputs, feeds)];
    const unit = precision === 'float16' ? 2 ** -11 : 2 ** -8;
    plain.forEach(({ data }, k) => {
      const scale = Math.max(...data.map(Math.abs));
      const off = Math.max(...data.map((v, i) => Math.abs(v - low[k]!.data[i]!))) / scale;
      expect(off).toBeGreaterThan(0);
      expect(off).toBeLessThan(8 * unit);
    });
  });
  test('a marked derivative keeps its products in float32, the function beside it does not', () => {
    const [x, v, w] = [input('x', [2, 3]), input('v', [2, 3]), input('w', [3, 3])];
    const y = matmul(matmul(x, w).square(), w);
    const slope = jvp(y, [x], [v]);
    const plain = lowOps(lowered([y, slope], precision));
    expect(plain).toBeGreaterThan(2);
    expect(lowOps(lowered([y, exact(slope, y)], precision))).toBe(2);
  });
});

test('float32 is the graph itself', () => {
  const y = matmul(input('a', [2, 3]), input('b', [3, 4]));
  expect(lowered([y], 'float32')).toEqual([y]);
});

// Some spellings of a target have constants beside their inputs, which must be of the type of the product: sessions check types when they are made.
describe.each(['cpu', 'webgpu', 'cuda'] as const)('float16 products and their gradients are well typed for %s', (target) => {
  test.each([...convolutionCases, ...linalgCases].map((one) => [`${one.op}: ${one.title}`, one] as const))('%s', async (_, one) => {
    const inputs = one.inputs.map(({ shape }, i) => input(`x${i}`, shape));
    const y = one.build(...inputs);
    const outputs = lowered([y, ...(gradients(y.square().sum(), inputs) as Tensor[])], 'float16');
    const model = toOnnx(Object.fromEntries(outputs.map((t, i) => [`y${i}`, t])), { target });
    await (await ort.InferenceSession.create(model, { logSeverityLevel: 4 })).release();
  });
});
