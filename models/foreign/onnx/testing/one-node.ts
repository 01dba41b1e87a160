/** @file Models of one node, for tests. */
import { create, toBinary } from '@bufbuild/protobuf';
import { type AttributeProto, AttributeProtoSchema, ModelProtoSchema, type TensorProto, TensorProtoSchema } from 'onnx-buf';
import type { DType } from '../../../../engine/graph/tensor.ts';
import type { InputSpec } from '../../../../engine/testing/gradcheck.ts';

/** Numbers that stand in the file: whole ones, or floats. */
export interface Fixed {
  readonly fixed: readonly number[];
  readonly shape: readonly number[];
  readonly dtype: DType;
}
export const ints = (values: readonly number[], shape: readonly number[] = [values.length]): Fixed => ({
  fixed: values,
  shape,
  dtype: 'int64',
});
export const floats = (values: readonly number[], shape: readonly number[] = [values.length]): Fixed => ({
  fixed: values,
  shape,
  dtype: 'float32',
});
export const isFixed = (x: unknown): x is Fixed => typeof x === 'object' && x !== null && 'fixed' in x;

/** Whole numbers, unless marked; texts; lists; tensors. */
export type Attribute =
  | number
  | string
  | readonly number[]
  | { readonly float: number }
  | { readonly floats: readonly number[] }
  | { readonly tensor: Fixed };

export interface OneNode {
  readonly op: string;
  readonly title: string;
  /** undefined: left out. */
  readonly inputs: readonly (InputSpec | Fixed | undefined)[];
  readonly attributes: Readonly<Record<string, Attribute>>;
  readonly opset: number;
  readonly outputs: number;
}
const ELEMENT: Readonly<Record<DType, number>> = { float32: 1, uint8: 2, int64: 7, bool: 9, float16: 10 };

export function tensorOf(name: string, { fixed, shape, dtype }: Fixed): TensorProto {
  const data = dtype === 'int64' ? BigInt64Array.from(fixed, BigInt) : dtype === 'bool' ? Uint8Array.from(fixed) : Float32Array.from(fixed);
  return create(TensorProtoSchema, {
    name,
    dims: shape.map(BigInt),
    dataType: ELEMENT[dtype],
    rawData: new Uint8Array(data.buffer as ArrayBuffer),
  });
}

const INT = 2;
export function attributeOf(name: string, value: Attribute): AttributeProto {
  const make = (type: number, rest: object): AttributeProto => create(AttributeProtoSchema, { name, type, ...rest } as never);
  if (typeof value === 'number') return make(INT, { i: BigInt(value) });
  if (typeof value === 'string') return make(3, { s: new TextEncoder().encode(value) });
  if ('float' in value) return make(1, { f: value.float });
  if ('floats' in value) return make(6, { floats: [...value.floats] });
  if ('tensor' in value) return make(4, { t: tensorOf('', value.tensor) });
  return make(7, { ints: value.map(BigInt) });
}

/** Inputs are called x0, x1, …, outputs y0, y1, …; types of outputs are left to whoever reads it. */
export function oneNodeModel({ op, inputs, attributes, opset, outputs }: OneNode): Uint8Array {
  const [domain, type] = op.startsWith('com.microsoft.') ? ['com.microsoft', op.slice(14)] : ['', op];
  const named = inputs.map((spec, i) => ({ name: spec ? `x${i}` : '', spec }));
  return toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, {
      irVersion: 8n,
      opsetImport: [{ domain: '', version: BigInt(opset) }, ...(domain ? [{ domain, version: 1n }] : [])],
      graph: {
        name: 'one',
        node: [
          {
            name: 'one',
            opType: type!,
            domain: domain!,
            input: named.map(({ name }) => name),
            output: Array.from({ length: outputs }, (_, i) => `y${i}`),
            attribute: Object.entries(attributes).map(([name, value]) => attributeOf(name, value)),
          },
        ],
        initializer: named.flatMap(({ name, spec }) => (isFixed(spec) ? [tensorOf(name, spec)] : [])),
        input: named.flatMap(({ name, spec }) => (spec && !isFixed(spec) ? [valueInfo(name, spec)] : [])),
        output: Array.from({ length: outputs }, (_, i) => ({ name: `y${i}` })),
      },
    }),
  );
}
function valueInfo(name: string, { shape, dtype }: InputSpec) {
  const dim = shape.map((d) => ({ value: { case: 'dimValue' as const, value: BigInt(d) } }));
  return { name, type: { value: { case: 'tensorType' as const, value: { elemType: ELEMENT[dtype], shape: { dim } } } } };
}
