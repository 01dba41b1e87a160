/** @file What files may say: encodings, external data, free sizes, weights chosen by pattern, branches and functions; and what is refused, with the line that is shown. */
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import {
  AttributeProtoSchema,
  type GraphProtoSchema,
  ModelProtoSchema,
  type NodeProtoSchema,
  type TensorProto,
  TensorProtoSchema,
} from 'onnx-buf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { input, leafOf } from '../../../engine/graph/ops/leaf.ts';
import { evaluate } from '../../../engine/graph/reference.ts';
import type { Shape, Tensor } from '../../../engine/graph/tensor.ts';
import { InputError } from '../../../engine/io/errors.ts';
import { constantScope, recordingScope } from '../../../engine/train/weights.ts';
import { type ImportedOnnx, importOnnx, importOnnxBytes } from './import.ts';
import { readTensor } from './tensors.ts';
import { attributeOf, floats, ints, tensorOf } from './testing/one-node.ts';

type Node = MessageInitShape<typeof NodeProtoSchema>;
type Graph = MessageInitShape<typeof GraphProtoSchema>;
const node = (
  opType: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: Parameters<typeof Object.entries>[0] = {},
  domain = '',
): Node => ({
  name: `${opType.toLowerCase()}_1`,
  opType,
  domain,
  input: [...inputs],
  output: [...outputs],
  attribute: Object.entries(attributes).map(([name, value]) => attributeOf(name, value as never)),
});
const port = (name: string, shape: readonly (number | string)[], elemType = 1) => ({
  name,
  type: {
    value: {
      case: 'tensorType' as const,
      value: {
        elemType,
        shape: {
          dim: shape.map((d) => ({
            value: typeof d === 'number' ? { case: 'dimValue' as const, value: BigInt(d) } : { case: 'dimParam' as const, value: d },
          })),
        },
      },
    },
  },
});
function model(
  graph: Graph,
  { opset = 17, functions = [] as MessageInitShape<typeof ModelProtoSchema>['functions'], domains = [] as readonly string[] } = {},
): Uint8Array {
  const opsetImport = [{ domain: '', version: BigInt(opset) }, ...domains.map((domain) => ({ domain, version: 1n }))];
  return toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, { irVersion: 8n, opsetImport, graph: { output: [{ name: 'y' }], ...graph }, functions: functions ?? [] }),
  );
}
const x = port('x', ['batch', 3]);
/** The values of y where x is fed, and what else. */
function run(file: ImportedOnnx, feeds: Readonly<Record<string, readonly number[]>>, n = 2): readonly number[] {
  const given = Object.fromEntries(file.inputs.map((p): [string, Tensor] => [p.name, input(p.name, p.shape, p.dtype)]));
  return Array.from(evaluate([file.network(constantScope(file.weights), given)['y']!], feeds, n)[0]!.data);
}
function refusal(bytes: Uint8Array, options: Parameters<typeof importOnnxBytes>[1] = {}): string {
  try {
    importOnnxBytes(bytes, options, 'net.onnx');
  } catch (error) {
    expect(error).toBeInstanceOf(InputError);
    return (error as Error).message;
  }
  return 'nothing';
}

describe('encodings of tensors', () => {
  const tensor = (dataType: number, rest: MessageInitShape<typeof TensorProtoSchema>): TensorProto =>
    create(TensorProtoSchema, { name: 't', dims: [2n], dataType, ...rest });
  const bytes = (view: ArrayBufferView): Uint8Array<ArrayBuffer> => new Uint8Array(view.buffer as ArrayBuffer);
  const half = [0x3e00, 0xc100]; // 1.5, −2.5
  test.each<readonly [string, number, string, readonly number[], MessageInitShape<typeof TensorProtoSchema>, ArrayBufferView]>([
    ['float', 1, 'float32', [1.5, -2.5], { floatData: [1.5, -2.5] }, Float32Array.of(1.5, -2.5)],
    ['uint8', 2, 'int64', [1, 255], { int32Data: [1, 255] }, Uint8Array.of(1, 255)],
    ['int8', 3, 'int64', [1, -2], { int32Data: [1, -2] }, Int8Array.of(1, -2)],
    ['uint16', 4, 'int64', [1, 65535], { int32Data: [1, 65535] }, Uint16Array.of(1, 65535)],
    ['int16', 5, 'int64', [1, -2], { int32Data: [1, -2] }, Int16Array.of(1, -2)],
    ['int32', 6, 'int64', [1, -2], { int32Data: [1, -2] }, Int32Array.of(1, -2)],
    ['int64', 7, 'int64', [1, -2], { int64Data: [1n, -2n] }, BigInt64Array.of(1n, -2n)],
    ['bool', 9, 'bool', [0, 1], { int32Data: [0, 1] }, Uint8Array.of(0, 1)],
    ['float16', 10, 'float32', [1.5, -2.5], { int32Data: half }, Uint16Array.from(half)],
    ['double', 11, 'float32', [1.5, -2.5], { doubleData: [1.5, -2.5] }, Float64Array.of(1.5, -2.5)],
    ['uint32', 12, 'int64', [1, 2 ** 31], { uint64Data: [1n, 2n ** 31n] }, Uint32Array.of(1, 2 ** 31)],
    ['uint64', 13, 'int64', [1, 2], { uint64Data: [1n, 2n] }, BigUint64Array.of(1n, 2n)],
    ['bfloat16', 16, 'float32', [1.5, -2.5], { int32Data: [0x3fc0, 0xc020] }, Uint16Array.of(0x3fc0, 0xc020)],
    ['float8e4m3fn', 17, 'float32', [1.5, -2.5], { int32Data: [0x3c, 0xc2] }, Uint8Array.of(0x3c, 0xc2)],
    ['float8e5m2', 19, 'float32', [1.5, -2.5], { int32Data: [0x3e, 0xc1] }, Uint8Array.of(0x3e, 0xc1)],
  ])('%s', (_, type, dtype, values, typed, raw) => {
    for (const form of [typed, { rawData: bytes(raw) }]) {
      const read = readTensor('t', tensor(type, form));
      expect([read.dtype, Array.from(read.data as ArrayLike<number | bigint>, Number)]).toEqual([dtype, values]);
    }
  });
  test.each([
    [22, 'holds int4, which is not supported'],
    [21, 'holds uint4, which is not supported'],
    [8, 'holds string, which is not supported'],
    [14, 'holds complex64, which is not supported'],
    [18, 'holds float8e4m3fnuz, which is not supported'],
    [99, 'holds elements of the unknown type 99, which is not supported'],
  ])('type %i is refused by name', (type, message) => {
    expect(() => readTensor('t', tensor(type, { rawData: new Uint8Array(2) }))).toThrow(message);
  });
  test('sizes that bytes do not fill', () => {
    expect(() => readTensor('t', tensor(1, { rawData: new Uint8Array(4) }))).toThrow('t: float32[2] takes 8 bytes, but 4 bytes are there');
    expect(() => readTensor('t', tensor(1, { floatData: [1] }))).toThrow('t: float32[2] takes 8 bytes, but 1 values are there');
    expect(() => readTensor('t', tensor(1, { dims: [-1n] }))).toThrow('t: has the shape [-1]; sizes are whole numbers');
  });
});

describe('external data', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'onnx-import-'));
    await mkdir(join(folder, 'net', 'deep'), { recursive: true });
    await writeFile(join(folder, 'net', 'deep', 'w.bin'), new Uint8Array(Float32Array.of(9, 9, 1, 2, 3, 9).buffer));
    await writeFile(join(folder, 'secret'), new Uint8Array(12));
    await symlink(join(folder, 'secret'), join(folder, 'net', 'link'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));
  const attempt = async (entries: Readonly<Record<string, string>>): Promise<string | readonly number[]> => {
    const w = create(TensorProtoSchema, {
      name: 'w',
      dims: [3n],
      dataType: 1,
      dataLocation: 1,
      externalData: Object.entries(entries).map(([key, value]) => ({ key, value })),
    });
    const path = join(folder, 'net', 'net.onnx');
    await writeFile(path, model({ node: [node('Mul', ['x', 'w'], ['y'])], initializer: [w], input: [x] }));
    return importOnnx(path).then(
      (file) => run(file, { x: [1, 1, 1, 2, 2, 2] }),
      (error: Error) => error.message.replaceAll(folder, 'DIR'),
    );
  };
  test('is read by its range', async () => {
    expect(await attempt({ location: 'deep/w.bin', offset: '8', length: '12' })).toEqual([1, 2, 3, 2, 4, 6]);
  });
  test.each<readonly [Readonly<Record<string, string>>, string]>([
    [{ location: '../secret' }, 'DIR/net/net.onnx: names the file "../secret"; only files of its own folder are read'],
    [{ location: 'link' }, 'DIR/net/net.onnx: names the file "link"; only files of its own folder are read'],
    [{ location: '/etc/hostname' }, 'DIR/net/net.onnx: names the file "/etc/hostname"; only files of its own folder are read'],
    [{ location: '' }, 'DIR/net/net.onnx: names the file ""; only files of its own folder are read'],
    [{ location: 'none.bin' }, 'DIR/net/none.bin: cannot read: no such file (ENOENT)'],
    [{ location: 'deep/w.bin', offset: '20' }, 'DIR/net/deep/w.bin: bytes 20 to 32 are wanted of 24; the file is truncated or damaged'],
    [{ location: 'deep/w.bin', offset: '-4' }, 'DIR/net/net.onnx: tensor "w": its offset is "-4"; it must be a number of bytes'],
    [{ location: 'deep/w.bin', length: '8' }, 'DIR/net/net.onnx: tensor "w": takes 12 bytes, but its file is said to hold 8 of it'],
  ])('%o is refused', async (entries, message) => {
    expect(await attempt(entries)).toBe(message);
  });
  test('a missing file, a folder and text', async () => {
    const message = (path: string): Promise<string> =>
      importOnnx(path).then(
        () => 'nothing',
        (e: Error) => e.message.replaceAll(folder, 'DIR'),
      );
    expect(await message(join(folder, 'none.onnx'))).toBe('DIR/none.onnx: cannot read: no such file (ENOENT)');
    expect(await message(folder)).toMatch(/^DIR: is no file/);
    await writeFile(join(folder, 'text.onnx'), 'hello, this is no model at all');
    expect(await message(join(folder, 'text.onnx'))).toMatch(/^DIR\/text.onnx: is no ONNX (file, or a damaged one|model)/);
  });
});

describe('free sizes', () => {
  const wide = port('x', ['batch', 'height', 2]);
  const graph: Graph = { node: [node('Relu', ['x'], ['y'])], input: [wide] };
  test('the leading one stays free, the others are given', () => {
    expect(refusal(model(graph))).toBe('net.onnx: input "x": the size of axis 1 (height) is free; give it a number: sizes { "height": … }');
    expect(importOnnxBytes(model(graph), { sizes: { height: 4 } }).inputs[0]!.shape).toEqual(['N', 4, 2] satisfies Shape);
    expect(importOnnxBytes(model(graph), { sizes: { 'x.1': 4, batch: 3 } }).outputs[0]!.shape).toEqual([3, 4, 2]);
    expect(refusal(model(graph), { sizes: { hieght: 4, height: 4 } })).toBe(
      'net.onnx: no free size is called "hieght"; did you mean height?',
    );
  });
  test('inputs are shaped as their ports', () => {
    const file = importOnnxBytes(model(graph), { sizes: { height: 4 } }, 'net.onnx');
    expect(() => file.network(constantScope(new Map()), {})).toThrow('net.onnx: the input "x" float32[N,4,2] is missing');
    expect(() => file.network(constantScope(new Map()), { x: input('x', [2, 3, 2]) })).toThrow(
      'net.onnx: the input "x" is float32[2,3,2]; it must be float32[N,4,2]',
    );
    expect(file.network(constantScope(new Map()), { x: input('x', ['2N', 4, 2]) })['y']!.shape).toEqual(['2N', 4, 2]);
  });
  test('shapes are computed with them, the batch size among them', () => {
    const shaped: Graph = {
      node: [
        node('Shape', ['x'], ['s']),
        node('Gather', ['s', 'zero'], ['n']),
        node('Mul', ['n', 'three'], ['rows']),
        node('Concat', ['rows', 'two'], ['t'], { axis: 0 }),
        node('Reshape', ['x', 't'], ['r']),
        node('Concat', ['rows', 'one'], ['u'], { axis: 0 }),
        node('Expand', ['half', 'u'], ['e']),
        node('Add', ['r', 'e'], ['y']),
      ],
      initializer: [
        tensorOf('zero', ints([0])),
        tensorOf('one', ints([1])),
        tensorOf('two', ints([2])),
        tensorOf('three', ints([3])),
        tensorOf('half', floats([0.5], [])),
      ],
      input: [port('x', ['batch', 3, 2])],
    };
    const file = importOnnxBytes(model(shaped));
    expect(file.outputs[0]!.shape).toEqual(['3N', 2]);
    expect(run(file, { x: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12] })).toEqual([
      1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5, 10.5, 11.5, 12.5,
    ]);
  });
  const size = [node('Shape', ['x'], ['n'], { end: 1 })];
  test('whole batches are repeated and cut apart again', () => {
    const twice: Graph = {
      node: [
        ...size,
        node('Tile', ['x', 'times'], ['xx']), // [2N, 3]
        node('Split', ['xx'], ['a', 'b'], { axis: 0 }),
        node('Slice', ['xx', 'n', 'far', 'first'], ['c']),
        node('Sub', ['a', 'two'], ['d']),
        node('Mul', ['d', 'b'], ['e']),
        node('Add', ['e', 'c'], ['y']),
      ],
      initializer: [
        tensorOf('times', ints([2, 1])),
        tensorOf('far', ints([Number.MAX_SAFE_INTEGER])),
        tensorOf('first', ints([0])),
        tensorOf('two', floats([2], [])),
      ],
      input: [x],
    };
    const file = importOnnxBytes(model(twice));
    expect(file.outputs[0]!.shape).toEqual(['N', 3]);
    const values = [1, 2, 3, 4, 5, 6];
    expect(run(file, { x: values })).toEqual(values.map((v) => (v - 2) * v + v));
    const half: Graph = { ...twice, initializer: [tensorOf('times', ints([3, 1])), ...twice.initializer!.slice(1)] };
    expect(refusal(model(half))).toBe(
      'net.onnx: node "split_1" (Split, opset 17): cuts along the batch elsewhere than between whole batches, which is not supported',
    );
  });
  test('one token is repeated for every sample', () => {
    const token: Graph = {
      node: [
        ...size,
        node('Concat', ['n', 'ones'], ['times'], { axis: 0 }),
        node('Tile', ['token', 'times'], ['t']),
        node('Concat', ['t', 'x'], ['y'], { axis: 1 }),
      ],
      initializer: [tensorOf('ones', ints([1, 1])), tensorOf('token', floats([7, 8], [1, 1, 2]))],
      input: [port('x', ['batch', 1, 2])],
    };
    expect(run(importOnnxBytes(model(token)), { x: [1, 2, 3, 4] })).toEqual([7, 8, 1, 2, 7, 8, 3, 4]);
  });
  test('values are placed within each sample by its number', () => {
    // As PyTorch exports y[:, [0, 2]] = u.
    const placed: Graph = {
      node: [
        ...size,
        node('Squeeze', ['n'], ['limit']),
        node('Range', ['zero', 'limit', 'one'], ['rows']),
        node('Reshape', ['rows', 'column'], ['r']), // [N, 1]
        node('Add', ['r', 'none'], ['sum']),
        node('Shape', ['sum'], ['pairs']),
        node('Expand', ['r', 'pairs'], ['er']),
        node('Expand', ['places', 'pairs'], ['ep']),
        node('Unsqueeze', ['er', 'last'], ['ur']),
        node('Unsqueeze', ['ep', 'last'], ['up']),
        node('Concat', ['ur', 'up'], ['index'], { axis: -1 }),
        node('ScatterND', ['x', 'index', 'u'], ['y']),
      ],
      initializer: [
        tensorOf('zero', ints([0], [])),
        tensorOf('one', ints([1], [])),
        tensorOf('column', ints([-1, 1])),
        tensorOf('none', ints([0, 0])),
        tensorOf('places', ints([0, 2])),
        tensorOf('last', ints([-1])),
      ],
      input: [x, port('u', ['batch', 2])],
    };
    expect(run(importOnnxBytes(model(placed)), { x: [1, 2, 3, 4, 5, 6], u: [-1, -2, -3, -4] })).toEqual([-1, 2, -2, -3, 5, -4]);
  });
  test('the batch size as a value, and picking across the batch, are refused', () => {
    const value: Graph = {
      node: [node('Shape', ['x'], ['s'], { end: 1 }), node('Cast', ['s'], ['n'], { to: 1 }), node('Div', ['x', 'n'], ['y'])],
      input: [x],
    };
    expect(refusal(model(value))).toBe(
      'net.onnx: node "div_1" (Div, opset 17): input 1 depends on the batch size N, which is not a value of the graph',
    );
    const pick: Graph = { node: [node('Gather', ['x', 'i'], ['y'])], initializer: [tensorOf('i', ints([0]))], input: [x] };
    expect(refusal(model(pick))).toBe(
      'net.onnx: node "gather_1" (Gather, opset 17): picks along the batch by index, which is not supported',
    );
    const root: Graph = {
      node: [
        node('Shape', ['x'], ['s'], { end: 1 }),
        node('Cast', ['s'], ['n'], { to: 1 }),
        node('Sqrt', ['n'], ['r']),
        node('Mul', ['x', 'r'], ['y']),
      ],
      input: [x],
    };
    expect(refusal(model(root))).toMatch(/node "sqrt_1" \(Sqrt, opset 17\): input 0 depends on the batch size N/);
  });
});

describe('weights by pattern', () => {
  const graph: Graph = {
    node: [
      node('Mul', ['x', 'a.weight'], ['m']),
      node('Add', ['m', 'a.bias'], ['s']),
      node('Mul', ['s', 'scale'], ['t']),
      node('Reshape', ['t', 'shape'], ['y']),
    ],
    initializer: [
      tensorOf('a.weight', floats([1, 2, 3])),
      tensorOf('a.bias', floats([0, 0, 1])),
      tensorOf('scale', floats([2], [])),
      tensorOf('shape', ints([-1, 3])),
    ],
    input: [x],
  };
  const chosen = (trainable: readonly string[]): readonly string[] => [...importOnnxBytes(model(graph), { trainable }).weights.keys()];
  test('none, all, some', () => {
    expect(chosen([])).toEqual([]);
    expect(chosen(['*'])).toEqual(['a.weight', 'a.bias']);
    expect(chosen(['*.weight'])).toEqual(['a.weight']);
    expect(chosen(['*', '!*.weight'])).toEqual(['a.bias']);
    expect(chosen(['scale'])).toEqual(['scale']);
  });
  test('they are asked of the scope, the others are constants', () => {
    const file = importOnnxBytes(model(graph), { trainable: ['*.weight'] });
    const { scope, declared } = recordingScope('net');
    file.network(scope, { x: input('x', [2, 3]) });
    expect([...declared.values()]).toEqual([
      { name: 'a.weight', shape: [3], init: { kind: 'values', values: Float32Array.of(1, 2, 3) }, trained: true },
    ]);
    expect(run(file, { x: [1, 1, 1, 2, 2, 2] })).toEqual([2, 4, 8, 4, 8, 14]);
  });
  test('a pattern that matches nothing', () => {
    expect(refusal(model(graph), { trainable: ['b.*'] })).toBe(
      'net.onnx: the pattern "b.*" matches none of its 3 float weights: a.weight, a.bias, scale, …',
    );
    expect(refusal(model(graph), { trainable: ['shape'] })).toMatch(/the pattern "shape" matches none/);
  });
  test('numbers that direct an operator are no weights', () => {
    const sized: Graph = {
      node: [node('Resize', ['x', '', 'scales'], ['r'], { mode: 'nearest' }), node('Mul', ['r', 'w'], ['y'])],
      initializer: [tensorOf('scales', floats([1, 1, 2, 2])), tensorOf('w', floats([1, 2, 3, 4]))],
      input: [port('x', ['batch', 1, 2, 2])],
    };
    expect([...importOnnxBytes(model(sized), { trainable: ['*'] }).weights.keys()]).toEqual(['w']);
  });
});

describe('branches and functions', () => {
  const graphAttribute = (name: string, graph: Graph) => create(AttributeProtoSchema, { name, type: 5, g: graph });
  const branch = (opType: string, condition: Node[], initializer: TensorProto[] = [], inputs = [x]): Graph => ({
    node: [
      ...condition,
      {
        name: 'if_1',
        opType: 'If',
        input: ['c'],
        output: ['y'],
        attribute: [
          graphAttribute('then_branch', {
            name: 't',
            node: [node(opType, ['x', 'k'], ['o'])],
            initializer: [tensorOf('k', floats([2], []))],
            output: [{ name: 'o' }],
          }),
          graphAttribute('else_branch', { name: 'e', node: [node('Identity', ['x'], ['o'])], output: [{ name: 'o' }] }),
        ],
      },
    ],
    initializer,
    input: inputs,
  });
  test('a condition that follows from sizes', () => {
    const rank = [node('Shape', ['x'], ['s']), node('Gather', ['s', 'last'], ['w']), node('Equal', ['w', 'three'], ['c'])];
    const given = [tensorOf('last', ints([1], [])), tensorOf('three', ints([3], []))];
    expect(run(importOnnxBytes(model(branch('Mul', rank, given))), { x: [1, 2, 3, 4, 5, 6] })).toEqual([2, 4, 6, 8, 10, 12]);
    expect(
      run(importOnnxBytes(model(branch('Mul', rank, [given[0]!, tensorOf('three', ints([4], []))]))), { x: [1, 2, 3, 4, 5, 6] }),
    ).toEqual([1, 2, 3, 4, 5, 6]);
  });
  test('a condition that is fed', () => {
    expect(refusal(model(branch('Mul', [], [], [x, port('c', [], 9)])))).toMatch(
      /node "if_1" \(If, opset 17\): the condition \(input 0, bool\[\]\) is not known when the file is imported/,
    );
  });
  test('functions that the file defines', () => {
    const reference = create(AttributeProtoSchema, { name: 'alpha', type: 1, refAttrName: 'slope' });
    const f = {
      name: 'Twice',
      domain: 'mine',
      input: ['a', 'b'],
      output: ['o'],
      attribute: ['slope'],
      opsetImport: [{ domain: '', version: 17n }],
      node: [{ ...node('LeakyRelu', ['a'], ['l']), attribute: [reference] }, node('Mul', ['l', 'b'], ['o'])],
    };
    const graph: Graph = { node: [node('Twice', ['x', 'x'], ['y'], { slope: { float: 0.5 } }, 'mine')], input: [x] };
    expect(run(importOnnxBytes(model(graph, { functions: [f], domains: ['mine'] })), { x: [-2, 1, 3, 0, -4, 1] })).toEqual([
      2, 1, 9, 0, 8, 1,
    ]);
    const endless = { ...f, node: [node('Twice', ['a', 'b'], ['o'], {}, 'mine')] };
    expect(refusal(model(graph, { functions: [endless], domains: ['mine'] }))).toMatch(/functions call each other more than 32 deep/);
  });
});

describe('what is refused names node, operator and opset', () => {
  const one = (opType: string, domain = '', opset = 17): string =>
    refusal(model({ node: [node(opType, ['x'], ['y'], {}, domain)], input: [x] }, { opset, domains: domain ? [domain] : [] }));
  test.each([
    [
      'Frobnicate',
      '',
      'net.onnx: node "frobnicate_1" (Frobnicate, opset 17): this operator is not supported at opset 11 to 21; docs/onnx.md lists those that are',
    ],
    [
      'toString',
      '',
      'net.onnx: node "tostring_1" (toString, opset 17): this operator is not supported at opset 11 to 21; docs/onnx.md lists those that are',
    ],
    ['Loop', '', 'net.onnx: node "loop_1" (Loop, opset 17): control flow and sequences are not supported; unroll it when exporting'],
    [
      'QuantizeLinear',
      '',
      'net.onnx: node "quantizelinear_1" (QuantizeLinear, opset 17): quantised operators are not supported; export the model in float32 or float16',
    ],
    ['Gelu', 'my.ops', 'net.onnx: node "gelu_1" (my.ops.Gelu, opset 17): operators of the domain "my.ops" are not supported'],
    ['LayerNormalization', '', 'net.onnx: node "layernormalization_1" (LayerNormalization, opset 17): input 1 is missing'],
  ])('%s of %o', (opType, domain, message) => {
    expect(one(opType, domain)).toBe(message);
  });
  test('opsets', () => {
    expect(one('Relu', '', 10)).toBe('net.onnx: is of opset 10; 11 to 21 are read: convert it, or export it again with opset_version=18');
    expect(one('Relu', '', 22)).toMatch(/is of opset 22/);
    for (const opset of [11, 16, 21]) expect(one('Relu', '', opset)).toBe('nothing');
  });
  test('graphs that do not hang together', () => {
    expect(refusal(model({ node: [node('Relu', ['z'], ['y'])], input: [x] }))).toBe(
      'net.onnx: node "relu_1" (Relu, opset 17) needs "z", which nothing before it gives, or which is not supported',
    );
    expect(refusal(model({ node: [], input: [x] }))).toMatch(/output "y" needs "y"/);
    expect(refusal(model({ node: [node('MatMul', ['x', 'x'], ['y'])], input: [x] }))).toBe(
      'net.onnx: node "matmul_1" (MatMul, opset 17): matmul: inner sizes differ in float32[N,3] @ float32[N,3]',
    );
    expect(refusal(model({ node: [node('Reshape', ['x', 's'], ['y'])], initializer: [tensorOf('s', ints([7, 3]))], input: [x] }))).toMatch(
      /\(Reshape, opset 17\): reshape: float32\[N,3\] does not fit \[7,3\]/,
    );
  });
});

test('constants are shared, not copied, between two uses of one network', () => {
  const graph: Graph = { node: [node('Mul', ['x', 'w'], ['y'])], initializer: [tensorOf('w', floats([1, 2, 3]))], input: [x] };
  const file = importOnnxBytes(model(graph));
  const [a, b] = [1, 2].map((n) => file.network(constantScope(new Map()), { x: input('x', [n, 3]) })['y']!.node.inputs[1]!);
  expect(leafOf(a!)!.data).toBe(leafOf(b!)!.data);
});
