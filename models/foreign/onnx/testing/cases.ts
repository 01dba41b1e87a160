/** @file One node or more of every operator: what it is fed, what stands in the file, of which opset it is. */
import { flags, float, type InputSpec, index, positive } from '../../../../engine/testing/gradcheck.ts';
import { type Attribute, type Fixed, floats, ints, type OneNode } from './one-node.ts';

type Inputs = readonly (InputSpec | Fixed | undefined)[];
type Attributes = Readonly<Record<string, Attribute>>;
/** Named `op: title`. */
const node = (name: string, inputs: Inputs, attributes: Attributes = {}, { opset = 17, outputs = 1 } = {}): OneNode => {
  const [op, title = 'plain'] = name.split(': ') as [string, string?];
  return { op, title, inputs, attributes, opset, outputs };
};
const real = (value: number): Attribute => ({ float: value });
/** Away from kinks at 0 and at whole numbers. */
const x = float([2, 3], { gap: 0.15 });
const y = float([2, 3], { gap: 0.15, low: -1.3, high: 1.4 });
const image = float([2, 4, 5, 4]);
const small = float([2, 3], { low: -0.7, high: 0.7 });
const spread = float([2, 3, 4], { low: -3, high: 3, distinct: true });
const inside = float([2, 3], { low: 0.2, high: 0.8 });

const elementwise: readonly OneNode[] = [
  ...['Add', 'Sub', 'Mul'].map((op) => node(`${op}: broadcast`, [float([2, 1, 3]), float([4, 1])])),
  node('Div: broadcast', [float([2, 3]), positive([3])]),
  node('Div: integers', [index([2, 3], 9), ints([2, 4, 3])]),
  node('Mod: floats', [float([2, 3], { low: 0.2, high: 0.9 }), floats([1.1])], { fmod: 1 }),
  node('Pow: square', [x, floats([2], [])]),
  node('Pow: root', [positive([2, 3]), floats([0.5], [])]),
  node('Pow: varying', [positive([2, 3]), float([3])]),
  ...['Neg', 'Exp', 'Erf', 'Sin', 'Cos', 'Tanh', 'Sinh', 'Cosh', 'Asinh', 'Atan', 'Abs', 'Sign', 'Identity'].map((op) => node(op, [x])),
  ...['Log', 'Sqrt', 'Reciprocal'].map((op) => node(op, [positive([2, 3])])),
  ...['Tan', 'Asin', 'Acos', 'Atanh'].map((op) => node(op, [small])),
  node('Acosh', [float([2, 3], { low: 1.3, high: 3 })]),
  ...['Floor', 'Ceil', 'Round'].map((op) => node(op, [inside])),
  ...['Max', 'Min'].map((op) => node(`${op}: three`, [x, y, float([3], { gap: 0.3 })])),
  ...['Sum', 'Mean'].map((op) => node(`${op}: three`, [x, y, float([3])])),
  node('Clip: both', [x, floats([-0.7], []), floats([0.8], [])]),
  node('Clip: below', [x, undefined, floats([0.6], [])]),
  node('Where: floats', [flags([2, 1]), x, y]),
  ...['Less', 'LessOrEqual', 'Greater', 'GreaterOrEqual', 'Equal'].map((op) => node(op, [x, y])),
  ...['And', 'Or', 'Xor'].map((op) => node(op, [flags([2, 3]), flags([3])])),
  node('Not', [flags([2, 3])]),
  ...['IsNaN', 'IsInf'].map((op) => node(op, [x])),
  node('Cast: to whole numbers', [inside], { to: 7 }),
  node('Cast: floats', [x], { to: 1 }),
  node('CastLike', [x, float([1])]),
  node('Dropout', [x]),
];
const activations: readonly OneNode[] = [
  ...['Relu', 'LeakyRelu', 'Elu', 'Celu', 'Selu', 'Sigmoid', 'Softplus', 'Softsign', 'HardSwish'].map((op) => node(op, [x])),
  node('LeakyRelu: slope', [x], { alpha: real(0.3) }),
  node('Celu: alpha', [x], { alpha: real(2) }),
  node('PRelu', [x, float([3])]),
  node('ThresholdedRelu', [float([2, 3], { low: -2, high: 0.8 })]),
  node('HardSigmoid', [inside]),
  node('Shrink', [float([2, 3], { low: 0.6, high: 2 })], { bias: real(0.2) }),
  node('Mish', [x], {}, { opset: 18 }),
  node('Gelu', [x], {}, { opset: 20 }),
  node('Gelu: tanh', [x], { approximate: 'tanh' }, { opset: 20 }),
  ...['Softmax', 'LogSoftmax'].flatMap((op) => [
    node(`${op}: middle`, [float([2, 3, 2])], { axis: 1 }),
    node(`${op}: opset 11, two axes at once`, [float([2, 3, 2])], { axis: 1 }, { opset: 11 }),
  ]),
  node('com.microsoft.QuickGelu', [x], { alpha: real(1.702) }),
];
const products: readonly OneNode[] = [
  node('MatMul: stacks', [float([2, 1, 2, 3]), float([3, 3, 2])]),
  node('MatMul: vectors', [float([3]), float([3])]),
  node('MatMul: vector and stack', [float([3]), float([2, 3, 2])]),
  node('Gemm: all', [float([3, 2]), float([4, 3]), float([4])], { transA: 1, transB: 1, alpha: real(0.5), beta: real(2) }),
  node('Einsum: attention', [float([2, 3, 2, 2]), float([2, 4, 2, 2])], { equation: 'bqhd,bkhd->bhqk' }),
  node('Einsum: patches', [float([1, 2, 2, 1, 2, 3])], { equation: 'nhwpqc->nchpwq' }),
  node('Einsum: outer product', [float([2]), float([3])], { equation: 'i,j->ij' }),
  node('Einsum: ellipsis', [float([2, 2, 3]), float([3, 2])], { equation: '...ij,jk->...ik' }),
  node('Einsum: diagonal', [float([2, 3, 3]), float([3, 2])], { equation: 'bii,ij->bij' }),
  node('Einsum: three, implicit', [float([2, 3]), float([3, 2]), float([2])], { equation: 'ij,jk,k' }),
];
const convolutions: readonly OneNode[] = [
  node('Conv: padded, strided', [image, float([3, 4, 3, 2]), float([3])], { pads: [1, 0, 1, 1], strides: [2, 1] }),
  node('Conv: groups', [image, float([4, 2, 1, 1])], { group: 2 }),
  node('Conv: one axis', [float([2, 3, 6]), float([2, 3, 3])], { dilations: [2] }),
  node('Conv: same', [image, float([2, 4, 3, 3])], { auto_pad: 'SAME_UPPER', strides: [2, 2] }),
  node('ConvTranspose: padded', [float([1, 2, 3, 3]), float([2, 2, 3, 3]), float([2])], {
    strides: [2, 2],
    pads: [1, 1, 1, 1],
    output_padding: [1, 1],
  }),
  node('ConvTranspose: one axis', [float([1, 2, 3]), float([2, 1, 3])], { strides: [2] }),
  node('ConvTranspose: asymmetric pads', [float([1, 2, 3, 3]), float([2, 2, 3, 3])], { strides: [1, 2], pads: [0, 1, 1, 0] }),
];
const tall = float([1, 2, 6, 5], { distinct: true, low: -3, high: 3 });
const pooling: readonly OneNode[] = [
  ...['MaxPool', 'AveragePool'].flatMap((op) => [
    node(`${op}: strided`, [tall], { kernel_shape: [2, 2], strides: [2, 2] }),
    node(`${op}: uneven pads`, [tall], { kernel_shape: [3, 3], strides: [2, 2], pads: [0, 0, 1, 1] }),
    node(`${op}: rounded up`, [tall], { kernel_shape: [3, 2], strides: [2, 2], ceil_mode: 1 }),
    node(`${op}: one axis`, [float([2, 2, 7], { distinct: true })], { kernel_shape: [3], strides: [2] }),
  ]),
  node('MaxPool: dilated', [tall], { kernel_shape: [2, 2], dilations: [2, 2] }),
  node('AveragePool: pads count', [tall], { kernel_shape: [3, 3], pads: [1, 1, 1, 1], count_include_pad: 1 }),
  ...['GlobalMaxPool', 'GlobalAveragePool'].map((op) => node(op, [tall])),
];
const channels = (n: number): readonly InputSpec[] => [float([n]), float([n])];
const normalisations: readonly OneNode[] = [
  node('BatchNormalization', [image, ...channels(4), float([4]), positive([4])]),
  node('InstanceNormalization', [image, ...channels(4)]),
  node('GroupNormalization: per channel', [image, ...channels(4)], { num_groups: 2 }, { opset: 21 }),
  node('LayerNormalization: last axis', [float([2, 3, 4]), ...channels(4)]),
  node(
    'LayerNormalization: two axes, all outputs',
    [float([2, 3, 4]), float([3, 4]), float([3, 4])],
    { axis: 1, epsilon: real(0.1) },
    { outputs: 3 },
  ),
  node('LayerNormalization: without shift', [float([2, 4]), float([4])]),
  node('LpNormalization: 2', [x], { axis: 1 }),
  node('LpNormalization: 1', [x], { axis: 0, p: 1 }),
  node('MeanVarianceNormalization', [float([2, 3, 2, 2])]),
];
const reductions: readonly OneNode[] = [
  ...[
    'ReduceSum',
    'ReduceMean',
    'ReduceMax',
    'ReduceMin',
    'ReduceProd',
    'ReduceL1',
    'ReduceL2',
    'ReduceSumSquare',
    'ReduceLogSumExp',
  ].flatMap((op) => [
    node(`${op}: axes as input`, [spread, ints([0, -1])], { keepdims: 0 }, { opset: 18 }),
    node(`${op}: all`, [spread], {}, { opset: op === 'ReduceSum' ? 13 : 17 }),
    node(`${op}: axes as attribute`, [spread], { axes: [1] }, { opset: 11 }),
  ]),
  node('ReduceLogSum', [positive([2, 3])], { axes: [1] }),
  node('ReduceSum: empty axes', [x, ints([])], { noop_with_empty_axes: 1 }, { opset: 13 }),
  ...['ArgMax', 'ArgMin'].flatMap((op) => [
    node(op, [spread], { axis: 2 }),
    node(`${op}: last`, [index([2, 5], 2)], { axis: 1, select_last_index: 1, keepdims: 0 }),
  ]),
  node('CumSum: forwards', [spread, ints([1], [])]),
  node('CumSum: backwards, exclusive', [spread, ints([2], [])], { reverse: 1, exclusive: 1 }),
];
const movement: readonly OneNode[] = [
  node('Reshape', [float([2, 3, 2]), ints([0, -1])]),
  node('Flatten', [float([2, 3, 2])], { axis: 2 }),
  node('Transpose', [float([2, 3, 2])], { perm: [2, 0, 1] }),
  node('Transpose: reversed', [float([2, 3])]),
  node('Concat', [float([2, 1]), float([2, 3])], { axis: -1 }),
  node('Split: sizes', [float([2, 5]), ints([2, 3])], { axis: 1 }, { outputs: 2 }),
  node('Split: equal, opset 11', [float([2, 4])], { axis: 1, split: [1, 3] }, { opset: 11, outputs: 2 }),
  node('Split: uneven number', [float([2, 5])], { axis: 1, num_outputs: 3 }, { opset: 18, outputs: 3 }),
  node('Slice: steps', [float([3, 6]), ints([5, 0]), ints([-7, 2]), ints([1, 0]), ints([-2, 1])]),
  node('Slice: to the end', [float([3, 6]), ints([-2]), ints([Number.MAX_SAFE_INTEGER]), ints([1])]),
  node('Squeeze: axes', [float([1, 3, 1]), ints([0])]),
  node('Squeeze: all, opset 11', [float([1, 3, 1])], {}, { opset: 11 }),
  node('Unsqueeze', [float([2, 3]), ints([0, -1])]),
  node('Unsqueeze: opset 11', [float([2, 3])], { axes: [1] }, { opset: 11 }),
  node('Expand', [float([3, 1]), ints([2, 1, 4])]),
  ...['DCR', 'CRD'].map((mode) => node(`DepthToSpace: ${mode}`, [float([1, 8, 2, 3])], { blocksize: 2, mode })),
  node('SpaceToDepth', [float([1, 2, 4, 6])], { blocksize: 2 }),
];
const pads = ints([1, 0, 2, 1]);
const padding: readonly OneNode[] = [
  node('Pad: zeros', [float([3, 4]), pads]),
  node('Pad: a number', [float([3, 4]), pads, floats([1.5], [])]),
  node('Pad: cropped', [float([3, 4]), ints([-1, 0, 0, 1])]),
  node('Pad: axes', [float([3, 4]), ints([1, 2]), undefined, ints([-1])], {}, { opset: 18 }),
  ...['reflect', 'edge'].map((mode) => node(`Pad: ${mode}`, [float([3, 4]), pads], { mode })),
  node('Pad: wrap', [float([3, 4]), pads], { mode: 'wrap' }, { opset: 19 }),
  node('Tile', [float([2, 3]), ints([2, 2])]),
];
const indexing: readonly OneNode[] = [
  node('Gather: rows', [float([4, 3]), index([2, 2], 4)]),
  node('Gather: from the end', [float([2, 4]), ints([-1, 0])], { axis: 1 }),
  node('GatherElements', [float([2, 4]), index([2, 3], 4)], { axis: 1 }),
  node('GatherND', [float([2, 3, 4]), ints([0, 1, 1, 2], [2, 2])]),
  node('GatherND: batch axis', [float([2, 3, 4]), index([2, 1], 3)], { batch_dims: 1 }),
  node('GatherND: two batch axes', [float([2, 2, 3]), index([2, 2, 1], 3)], { batch_dims: 2 }),
  node('ScatterElements', [float([3, 3]), ints([2, 0, 0, 1], [2, 2]), float([2, 2])], { axis: 0 }),
  node('ScatterElements: sum', [float([2, 3]), index([2, 2], 3), float([2, 2])], { axis: 1, reduction: 'add' }),
  node('ScatterND', [float([4, 2]), ints([3, 1], [2, 1]), float([2, 2])]),
  node('ScatterND: sum', [float([4, 2]), ints([3, 3], [2, 1]), float([2, 2])], { reduction: 'add' }, { opset: 18 }),
  node('OneHot', [index([2, 2], 3), ints([3]), floats([0.5, 2])], { axis: 1 }),
];
const scales = (h: number, w: number): Fixed => floats([1, 1, h, w]);
const resampling: readonly OneNode[] = [
  node('Resize: nearest, whole', [float([1, 2, 2, 3]), undefined, scales(2, 3)], {
    coordinate_transformation_mode: 'asymmetric',
    nearest_mode: 'floor',
  }),
  ...['half_pixel', 'asymmetric', 'align_corners', 'pytorch_half_pixel'].flatMap((mode) => [
    node(`Resize: linear, ${mode}`, [float([1, 1, 4, 3]), undefined, undefined, ints([1, 1, 6, 2])], {
      mode: 'linear',
      coordinate_transformation_mode: mode,
    }),
    node(`Resize: cubic, ${mode}`, [float([1, 1, 4, 4]), undefined, undefined, ints([1, 1, 7, 3])], {
      mode: 'cubic',
      coordinate_transformation_mode: mode,
      cubic_coeff_a: real(-0.5),
    }),
  ]),
  ...['round_prefer_floor', 'round_prefer_ceil', 'floor', 'ceil'].map((mode) =>
    node(`Resize: nearest, ${mode}`, [float([1, 1, 4, 3]), undefined, scales(1.5, 0.7)], { nearest_mode: mode }),
  ),
  node('Resize: antialiased', [float([1, 1, 8, 6]), undefined, scales(0.5, 0.5)], { mode: 'linear', antialias: 1 }, { opset: 18 }),
  node('Resize: antialiased, cubic', [float([1, 1, 8, 6]), undefined, scales(0.5, 0.5)], { mode: 'cubic', antialias: 1 }, { opset: 18 }),
  node('Resize: axes', [float([1, 2, 3, 4]), undefined, floats([2, 2])], { mode: 'linear', axes: [2, 3] }, { opset: 18 }),
  node('Resize: without what lies outside', [float([1, 1, 4, 4]), undefined, scales(1.5, 1.5)], { mode: 'cubic', exclude_outside: 1 }),
];
const made: readonly OneNode[] = [
  node('Shape: a part', [float([2, 3, 4])], { start: 1 }),
  node('Size', [float([2, 3])]),
  node('Constant', [], { value: { tensor: floats([1, 2]) } }),
  node('Constant: floats', [], { value_floats: { floats: [1, 2] } }),
  node('ConstantOfShape', [ints([2, 3])], { value: { tensor: floats([2]) } }),
  node('Range', [ints([1], []), ints([9], []), ints([3], [])]),
  ...[0, 1].map((upper) => node(`Trilu: ${upper ? 'upper' : 'lower'}`, [float([2, 3, 4]), ints([1], [])], { upper })),
  node('EyeLike', [float([2, 3])], { k: 1 }),
];

export const nodeCases: readonly OneNode[] = [
  elementwise,
  activations,
  products,
  convolutions,
  pooling,
  normalisations,
  reductions,
  movement,
  padding,
  indexing,
  resampling,
  made,
].flat();
