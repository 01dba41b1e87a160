/** @file Every test of the ONNX project whose operators are read: its values agree, or it is refused for a reason that is stated here. */
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { type ModelProto, ModelProtoSchema } from 'onnx-buf';
import { describe, expect, test } from 'vitest';
import { toOnnx } from '../../../engine/graph/onnx.ts';
import { input } from '../../../engine/graph/ops/leaf.ts';
import { evaluate } from '../../../engine/graph/reference.ts';
import { simplify } from '../../../engine/graph/simplify.ts';
import type { Tensor } from '../../../engine/graph/tensor.ts';
import { loadModel } from '../../../engine/run/ort.ts';
import { constantScope } from '../../../engine/train/weights.ts';
import { type ImportedOnnx, importOnnxBytes } from './import.ts';
import { operators } from './operators/index.ts';
import { type OnnxTensor, readTensor } from './tensors.ts';
import { hasNodeTests, type NodeTest, nodeTests } from './testing/node-tests.ts';

/** Why a test is not passed: names, and the words of the refusal, or why values differ. */
const REASONS: readonly (readonly [name: RegExp, reason: RegExp | string])[] = [
  [/3d|3D/, /spatial axes; 1 and 2 are supported/],
  [/training/, /training_mode is on/],
  [/STRING/, /string, which is not supported/],
  [/BFLOAT16/, 'the tests store bfloat16 as whole numbers'],
  [/window.*expanded/, /limit \(input 1, float32\[\]\) is not known/],
  [/dropout_default_mask|maxpool_with_argmax/, /needs "z", which nothing before it gives, or which is not supported/],
  [/identity_(opt|sequence)/, /is no tensor/],
  [/if_(opt|seq)/, /sequences are not supported/],
  [/maxpool_2d_uint8/, /takes floats only/],
  [/scatternd_multiply/, /reduction is mul/],
  [/tf_crop_and_resize/, /coordinate_transformation_mode is tf_crop_and_resize/],
  [/resize_downsample_scales_(cubic|linear)_align_corners/, 'the reference aligns corners at fractional sizes, ONNX Runtime at whole ones'],
  // Tests of opset 6: their operators had attributes for inputs.
  [/(Constant|Reflection|Replication|Zero)Pad2d|operator_pad/, /pads \(input 1\) is missing/],
  [/operator_index/, /starts \(input 1\) is missing/],
  [/PReLU_\dd_multiparam/, /cannot broadcast/],
  [/operator_clip/, 'bounds are attributes there'],
];
/** Doubles beyond the range of float32, in which ONNX Runtime computes here. */
const LARGE = /operator_add/;

/** Inputs that direct an operator are fed by the tests; files have them as constants. */
function baked(t: NodeTest, model: ModelProto): ImportedOnnx {
  const graph = model.graph!;
  // What is fed is taken to be counted from the front.
  if (/negative_indices/.test(t.name))
    graph.initializer.push(...t.inputs.flatMap((v, i) => (v.dataType === 7 ? [{ ...v, name: graph.input[i]!.name }] : [])));
  for (let tries = 0; ; tries++) {
    try {
      return importOnnxBytes(toBinary(ModelProtoSchema, model), {}, t.name);
    } catch (error) {
      const [, output, index] = /node "([^"]*)" .*\(input (\d+)/.exec((error as Error).message) ?? [];
      const name = graph.node.find((n) => (n.name || n.output[0]) === output)?.input[Number(index)];
      const at = graph.input.findIndex((v) => v.name === name);
      if (at < 0 || tries > 4 || graph.initializer.some((i) => i.name === name)) throw error;
      graph.initializer.push({ ...t.inputs[at]!, name: name! });
    }
  }
}
interface Ready {
  readonly imported: ImportedOnnx;
  readonly feeds: readonly OnnxTensor[];
  readonly expected: readonly OnnxTensor[];
}
function prepared(t: NodeTest): Ready {
  const model = fromBinary(ModelProtoSchema, t.bytes);
  // Node tests are of the version that last changed their operator: the later ones leave it as it is.
  if (t.opset < 11) model.opsetImport.find((o) => o.domain === '')!.version = 17n;
  const names = model.graph!.input.map((v) => v.name);
  const imported = baked(t, model);
  const byName = new Map(names.map((name, i) => [name, t.inputs[i]]));
  return {
    imported,
    feeds: imported.inputs.map((port) => readTensor(port.name, byName.get(port.name)!)),
    expected: t.outputs.map((o) => readTensor('output', o)),
  };
}
function outputsOf({ imported, feeds }: Ready): readonly Tensor[] {
  const given = imported.inputs.map(({ name }, i): [string, Tensor] => [name, input(name, feeds[i]!.shape, feeds[i]!.dtype)]);
  return Object.values(imported.network(constantScope(imported.weights), Object.fromEntries(given)));
}
const feedsOf = ({ imported, feeds }: Ready): Record<string, ArrayLike<number | bigint>> =>
  Object.fromEntries(imported.inputs.map(({ name }, i) => [name, feeds[i]!.data]));

/** What does not agree, or nothing. Half precision is computed in float32, so that it comes out more exact than expected. */
function difference(
  test: NodeTest,
  values: readonly { readonly shape: readonly number[]; readonly data: ArrayLike<number | bigint> }[],
  expected: readonly OnnxTensor[],
): string {
  for (const [i, want] of expected.entries()) {
    const got = values[i];
    if (got?.shape.join() !== want.shape.join()) return `output ${i} is [${got?.shape}], not [${want.shape}]`;
    const tolerance = test.outputs[i]!.dataType === 10 ? 1e-3 : 1e-4;
    for (const [k, e] of Array.from(want.data as ArrayLike<number | bigint>, Number).entries()) {
      const a = Number(got.data[k]);
      if (!(Object.is(a, e) || a === e || Math.abs(a - e) <= tolerance * Math.max(1, Math.abs(e))))
        return `output ${i} is ${a} at ${k}, not ${e}`;
    }
  }
  return '';
}
const reasonOf = (name: string, message: string): boolean =>
  REASONS.some(([pattern, reason]) => pattern.test(name) && (typeof reason === 'string' || reason.test(message)));

describe.skipIf(!hasNodeTests())('node tests', () => {
  const all = hasNodeTests() ? ['node', 'pytorch-converted', 'pytorch-operator', 'simple'].flatMap((group) => [...nodeTests(group)]) : [];
  const supported = all.filter((t) => t.operators.every((o) => Object.hasOwn(operators, o)));
  const passed = new Set<string>();
  const ready = new Map<NodeTest, Ready>();

  test('the interpreter gives the expected values, or the reason is stated', () => {
    const wrong: string[] = [];
    let refused = 0;
    for (const t of supported) {
      let message: string;
      try {
        const one = prepared(t);
        message = difference(t, evaluate(outputsOf(one), feedsOf(one)), one.expected);
        if (message === '') {
          for (const o of t.operators) passed.add(o);
          ready.set(t, one);
          continue;
        }
      } catch (error) {
        message = (error as Error).message;
      }
      if (reasonOf(t.name, message)) refused++;
      else wrong.push(`${t.name}: ${message}`);
    }
    expect(wrong).toEqual([]);
    expect({ tests: supported.length, passed: ready.size, refused }).toMatchObject({ passed: supported.length - refused });
    expect(ready.size).toBeGreaterThan(740);
    expect(refused).toBeLessThan(70);
  });
  test('every operator that has a test passes one', () => {
    const tested = new Set(supported.flatMap((t) => t.operators));
    expect([...tested].filter((o) => !passed.has(o))).toEqual([]);
  });
  test('ONNX Runtime gives the same of what is exported again, all tests in a few files', async () => {
    const runnable = [...ready].filter(
      ([t, r]) => !LARGE.test(t.name) && r.expected.every((e) => !e.shape.includes(0)) && r.feeds.every((f) => !f.shape.includes(0)),
    );
    expect(runnable.length).toBeGreaterThan(700);
    const wrong: string[] = [];
    for (let first = 0; first < runnable.length; first += 100) wrong.push(...(await rerun(runnable.slice(first, first + 100))));
    expect(wrong).toEqual([]);
  });
});

/** Many imported graphs as one model. */
async function rerun(tests: readonly (readonly [NodeTest, Ready])[]): Promise<string[]> {
  const outputs: Record<string, Tensor> = {};
  const feeds: Record<string, { dtype: Tensor['dtype']; shape: readonly number[]; data: never }> = {};
  for (const [t, { imported, feeds: given }] of tests) {
    const inputs = imported.inputs.map(({ name }, i): [string, Tensor] => {
      const { shape, dtype, data } = given[i]!;
      feeds[`${t.name} ${name}`] = { shape, dtype, data: (data instanceof Float64Array ? Float32Array.from(data) : data) as never };
      return [name, input(`${t.name} ${name}`, shape, dtype)];
    });
    const made = simplify(Object.values(imported.network(constantScope(imported.weights), Object.fromEntries(inputs))));
    made.forEach((y, i) => {
      outputs[`${t.name} out ${i}`] = y;
    });
  }
  const model = await loadModel(toOnnx(outputs, { target: 'any' }), { threads: 1 });
  try {
    const used = Object.fromEntries(model.inputs.map(({ name }) => [name, feeds[name]!]));
    const values = await model.run(used);
    return tests.flatMap(([t, { expected }]) => {
      const message = difference(
        t,
        expected.map((_, i) => values[`${t.name} out ${i}`]!),
        expected,
      );
      return message === '' ? [] : [`${t.name}: ${message}`];
    });
  } finally {
    await model.close();
  }
}
