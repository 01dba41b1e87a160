/** @file ONNX operators that make tensors of sizes and numbers, and branches that are decided when a file is imported. */
import { cast, where } from '../../../../engine/graph/ops/elementwise.ts';
import { constant } from '../../../../engine/graph/ops/leaf.ts';
import { reshape } from '../../../../engine/graph/ops/movement.ts';
import { elements, fixed, type Shape, type Tensor } from '../../../../engine/graph/tensor.ts';
import type { NodeView, Operators } from '../node.ts';
import { elementType, readTensor } from '../tensors.ts';
import { broadcastTo } from './movement.ts';

/** The longest vectors that an operator may make by itself. */
const LONGEST = 2 ** 24;

/** Sizes from `start` up to `end`, which later opsets may cut out. */
function shapeOf(n: NodeView): Tensor {
  const { shape } = n.x(0);
  const at = (v: number): number => Math.min(Math.max(v < 0 ? v + shape.length : v, 0), shape.length);
  return n.shapeTensor(shape.slice(at(n.attr.int('start', 0)), at(n.attr.int('end', shape.length))));
}
const sizeOf = (n: NodeView): Tensor => reshape(n.shapeTensor([elements(n.x(0).shape)]), []);

function constantOf(n: NodeView): Tensor {
  const tensor = n.attr.tensor('value');
  if (tensor) {
    const { data, shape, dtype } = readTensor('its value', tensor);
    return constant(data, shape, dtype);
  }
  if (n.attr.has('value_float')) return constant(Float32Array.of(n.attr.float('value_float')));
  if (n.attr.has('value_int')) return constant(BigInt64Array.of(BigInt(n.attr.int('value_int'))));
  const [floats, ints] = [n.attr.floats('value_floats'), n.attr.ints('value_ints')];
  if (floats) return constant(Float32Array.from(floats), [floats.length]);
  if (ints) return constant(BigInt64Array.from(ints, BigInt), [ints.length]);
  return n.fail('holds neither a tensor nor numbers; texts and sparse tensors are not supported');
}

function filled(n: NodeView): Tensor {
  const shape = n.sizes(0, 'shape');
  if (shape.some((d) => typeof d === 'number' && d < 0)) n.fail(`its shape is [${shape.join(',')}]`);
  const tensor = n.attr.tensor('value');
  const { data, dtype } = tensor ? readTensor('its value', tensor) : { data: Float32Array.of(0), dtype: 'float32' as const };
  if (data.length !== 1) n.fail(`its value holds ${data.length} numbers`);
  return broadcastTo(n, constant(data, [], dtype), shape as Shape);
}

function range(n: NodeView): Tensor {
  const [dim] = n.sizes(1, 'limit');
  if (dim !== undefined && typeof dim !== 'number') {
    const fromZero = n.numbers(0, 'start')[0] === 0 && n.numbers(2, 'delta')[0] === 1;
    return fromZero ? n.rows(dim) : n.fail('counts along the batch from elsewhere than 0, or by other steps than 1');
  }
  const [start, limit, delta] = [0, 1, 2].map((i) => n.numbers(i, ['start', 'limit', 'delta'][i]!)[0]) as [number, number, number];
  const length = Math.max(Math.ceil((limit - start) / delta), 0);
  if (!(length <= LONGEST)) n.fail(`goes from ${start} to ${limit} by ${delta}`);
  const values = Float64Array.from({ length }, (_, i) => start + i * delta);
  return n.x(0).dtype === 'int64' ? constant(BigInt64Array.from(values, BigInt), [length]) : constant(values, [length]);
}

/** Ones where `on` says so, of the last two axes. */
function mask(n: NodeView, x: Tensor, on: (row: number, column: number) => boolean): Tensor {
  const [rows, columns] = x.shape.slice(-2).map((d) => fixed('rows and columns', d)) as [number, number];
  if (rows * columns > LONGEST) n.fail(`makes a mask of ${rows}×${columns}`);
  return constant(
    Uint8Array.from({ length: rows * columns }, (_, i) => Number(on(Math.floor(i / columns), i % columns))),
    [rows, columns],
  );
}
function triangle(n: NodeView): Tensor {
  const x = n.x(0, 2);
  const k = n.maybe(1) ? n.numbers(1, 'k')[0]! : 0;
  const upper = n.attr.int('upper', 1) === 1;
  return where(
    mask(n, x, (r, c) => (upper ? c >= r + k : c <= r + k)),
    x,
    0,
  );
}
function eye(n: NodeView): Tensor {
  const x = n.x(0, 2);
  const k = n.attr.int('k', 0);
  if (x.shape.length !== 2) n.fail('needs a matrix');
  const dtype = n.attr.has('dtype') ? elementType('its dtype', n.attr.int('dtype')).dtype : x.dtype;
  return cast(
    mask(n, x, (r, c) => c === r + k),
    dtype,
  );
}

function branch(n: NodeView): readonly Tensor[] {
  const condition = n.numbers(0, 'the condition')[0] ?? n.fail('its condition is empty');
  const name = condition ? 'then_branch' : 'else_branch';
  return n.subgraph(n.attr.graph(name) ?? n.fail(`its ${name} is missing`));
}

export const shapes: Operators = {
  Shape: { build: shapeOf, gradient: 'none', sizes: true },
  Size: { build: sizeOf, gradient: 'none', sizes: true },
  Constant: { build: constantOf, gradient: 'none', limits: 'numbers only' },
  ConstantOfShape: { build: filled, gradient: 'none' },
  Range: { build: range, gradient: 'none', limits: 'constant bounds; up to the batch size only to pick from each sample' },
  Trilu: { build: triangle, gradient: 'yes' },
  EyeLike: { build: eye, gradient: 'none' },
  If: {
    build: branch,
    gradient: 'yes',
    limits: 'a condition that follows from sizes and constants; one that asks for a batch of 1 is taken to be false',
  },
};
