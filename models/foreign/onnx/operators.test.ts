/** @file Every operator that is read: values as ONNX Runtime gives them for the original node, gradients as central differences say. */
import { describe, expect, test } from 'vitest';
import { toOnnx } from '../../../engine/graph/onnx.ts';
import { input } from '../../../engine/graph/ops/leaf.ts';
import { evaluate } from '../../../engine/graph/reference.ts';
import type { Tensor } from '../../../engine/graph/tensor.ts';
import { loadModel } from '../../../engine/run/ort.ts';
import { checkGradients, type InputSpec, type OpCase, pointsOf } from '../../../engine/testing/gradcheck.ts';
import { expectClose, hostFeeds } from '../../../engine/testing/parity.ts';
import { constantScope } from '../../../engine/train/weights.ts';
import { importOnnxBytes } from './import.ts';
import { operators } from './operators/index.ts';
import { nodeCases } from './testing/cases.ts';
import { isFixed, type OneNode, oneNodeModel } from './testing/one-node.ts';

const fedTo = (c: OneNode): readonly InputSpec[] => c.inputs.filter((spec): spec is InputSpec => spec !== undefined && !isFixed(spec));
const titleOf = (c: OneNode): string => `${c.op} ${c.title}`;

/** The outputs as functions of the inputs that are fed, in their order. */
function imported(c: OneNode): (...xs: Tensor[]) => readonly Tensor[] {
  const file = importOnnxBytes(oneNodeModel(c), {}, titleOf(c));
  return (...xs) =>
    Object.values(file.network(constantScope(file.weights), Object.fromEntries(file.inputs.map(({ name }, i) => [name, xs[i]!]))));
}
const asCase = (c: OneNode): OpCase => {
  const build = imported(c);
  return {
    op: c.op,
    title: c.title,
    inputs: fedTo(c),
    zero: false,
    build: (...xs) => build(...xs).reduce((a, b) => a.sum().mul(0.7).add(b)),
  };
};

test('every operator has a case', () => {
  const cases = new Set(nodeCases.map((c) => c.op));
  expect(Object.keys(operators).filter((op) => !cases.has(op) && op !== 'If')).toEqual([]);
  const titles = nodeCases.map(titleOf);
  expect(titles.filter((t, i) => titles.indexOf(t) !== i)).toEqual([]);
});

describe('values are those of ONNX Runtime, before and after import', () => {
  test.each(nodeCases.map((c) => [titleOf(c), c] as const))('%s', async (title, c) => {
    const point = pointsOf({ op: c.op, title: c.title, inputs: fedTo(c), zero: false, build: () => null as never })[0]![1];
    const file = importOnnxBytes(oneNodeModel(c), {}, title);
    const leaves = fedTo(c).map((spec, i) => input(`x${i}`, spec.shape, spec.dtype));
    const ys = imported(c)(...leaves);
    const original = await loadModel(oneNodeModel(c), { threads: 1 });
    const feeds = hostFeeds(leaves, point);
    const want = await original.run(Object.fromEntries(file.inputs.map(({ name }, i) => [name, feeds[`x${i}`]!])));
    const again = await loadModel(toOnnx(Object.fromEntries(ys.map((y, i) => [`y${i}`, y])), { target: 'any' }), { threads: 1 });
    const got = await again.run(Object.fromEntries(again.inputs.map(({ name }) => [name, feeds[name]!])));
    const exact = evaluate(ys, point);
    ys.forEach((_, i) => {
      const expected = Array.from(want[`y${i}`]!.data as ArrayLike<number | bigint>, Number);
      expect(exact[i]!.shape, `${title}: shape`).toEqual(want[`y${i}`]!.shape);
      expectClose(`${title}: interpreter`, exact[i]!.data, expected, 2e-5);
      expectClose(`${title}: exported again`, got[`y${i}`]!.data, expected, 2e-5);
    });
    await Promise.all([original.close(), again.close()]);
  });
});

describe('gradients are central differences, first and second order', () => {
  const smooth = nodeCases.filter(
    (c) => operators[c.op]!.gradient === 'yes' && fedTo(c).some((s) => s.dtype === 'float32') && c.title !== 'to whole numbers',
  );
  test.each(smooth.map((c) => [titleOf(c), c] as const))('%s', (_, c) => checkGradients(asCase(c)));
  test('every operator that has a gradient is among them', () => {
    const checked = new Set(smooth.map((c) => c.op));
    expect(
      Object.entries(operators)
        .filter(([op, o]) => o.gradient === 'yes' && !checked.has(op))
        .map(([op]) => op),
    ).toEqual(['If']);
  });
});
