/** @file The graph: tensors, operations, differentiation, simplification, export and the float64 interpreter. */
import './fluent.ts';

export { gradients, jvp, maybeGradients } from './gradients.ts';
export { type ExportOptions, toOnnx } from './onnx.ts';
export * from './ops/attention.ts';
export { type ConvOptions, conv2d, convTranspose2d } from './ops/conv.ts';
export {
  abs,
  add,
  and,
  atan,
  atan2,
  cast,
  clamp,
  cos,
  div,
  equal,
  erf,
  exp,
  floor,
  gelu,
  geluTanh,
  greater,
  greaterOrEqual,
  isNaN,
  leakyRelu,
  less,
  lessOrEqual,
  log,
  log1p,
  logSigmoid,
  maximum,
  minimum,
  mish,
  mul,
  neg,
  not,
  type Operand,
  or,
  pow,
  quickGelu,
  reciprocal,
  relu,
  round,
  rsqrt,
  sigmoid,
  sign,
  silu,
  sin,
  softplus,
  sqrt,
  square,
  stop,
  sub,
  tanh,
  where,
} from './ops/elementwise.ts';
export { layerNormalize } from './ops/layer-normalize.ts';
export { constant, input, type LeafData, leafOf, state } from './ops/leaf.ts';
export { linear, matmul } from './ops/linalg.ts';
export {
  concat,
  expand,
  fill,
  flip,
  pad,
  pixelShuffle,
  pixelUnshuffle,
  reshape,
  slice,
  split,
  sumTo,
  swapLast,
  transpose,
  unpack,
  unsqueeze,
} from './ops/movement.ts';
export { groupNorm, layerNorm, rmsNorm, unitNorm } from './ops/normalize.ts';
export { type AveragePoolOptions, averagePool, maxPool, type PoolOptions } from './ops/pool.ts';
export {
  cumsum,
  logSoftmax,
  logSumExp,
  mean,
  meanPerSample,
  norm,
  reduceMax,
  reduceMean,
  reduceMin,
  reduceSum,
  softmax,
  sum,
  sumPerSample,
  variance,
} from './ops/reduce.ts';
export { type ResizeOptions, resizeBicubic, resizeBilinear, resizeNearest, upsampleNearest } from './ops/resize.ts';
export * from './ops/select.ts';
export { evaluate, type ReferenceFeeds } from './reference.ts';
export { simplify } from './simplify.ts';
export {
  type Dim,
  type DType,
  type Node,
  type Op,
  type Shape,
  ShapeError,
  show,
  Tensor,
  type TensorType,
  type Value,
} from './tensor.ts';
