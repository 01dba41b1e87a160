/** @file Small pieces of ONNX's schema: nodes, attributes, descriptions of values. */
import { create } from '@bufbuild/protobuf';
import {
  type AttributeProto,
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  type GraphProto,
  type NodeProto,
  NodeProtoSchema,
  TensorProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from 'onnx-buf';
import { ELEMENT_TYPE } from './ops/elementwise.ts';

export const node = (
  opType: string,
  input: readonly string[],
  output: readonly string[],
  attributeList: readonly AttributeProto[] = [],
): NodeProto => create(NodeProtoSchema, { opType, input: [...input], output: [...output], attribute: [...attributeList] });
export const graphAttribute = (name: string, g: GraphProto): AttributeProto =>
  create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.GRAPH, g });
export const integer = (name: string, i: number): AttributeProto =>
  create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.INT, i: BigInt(i) });
export const int64 = (name: string, value: number) =>
  create(TensorProtoSchema, { name, dataType: ELEMENT_TYPE.int64, int64Data: [BigInt(value)] });

const dimension = (d: string) => ({ value: { case: 'dimParam' as const, value: d } });
export const info = (name: string, elemType: number, dims: readonly string[]): ValueInfoProto =>
  create(ValueInfoProtoSchema, { name, type: { value: { case: 'tensorType', value: { elemType, shape: { dim: dims.map(dimension) } } } } });
export const renamed = (of: ValueInfoProto, name: string): ValueInfoProto => create(ValueInfoProtoSchema, { ...of, name });
const typeOf = ({ name, type }: ValueInfoProto) => {
  if (type?.value.case !== 'tensorType') throw new TypeError(`internal: ${name} has no tensor type`);
  return { elemType: type.value.value.elemType, dim: type.value.value.shape?.dim ?? [] };
};
/** The same with a first dimension of rows. */
export function stacked(of: ValueInfoProto, name: string, rows: string): ValueInfoProto {
  const { elemType, dim } = typeOf(of);
  return create(ValueInfoProtoSchema, {
    name,
    type: { value: { case: 'tensorType', value: { elemType, shape: { dim: [dimension(rows), ...dim] } } } },
  });
}
export function outputInfo(graph: GraphProto, name: string): ValueInfoProto {
  const found = graph.output.find((each) => each.name === name);
  if (!found) throw new TypeError(`internal: a model of a loop has no output ${name}`);
  return found;
}
export function ones(of: ValueInfoProto, name: string) {
  const { elemType, dim } = typeOf(of);
  const dims = dim.map(({ value }) => {
    if (value.case !== 'dimValue') throw new TypeError(`internal: ${of.name} of a loop has no fixed shape`);
    return value.value;
  });
  const n = Number(dims.reduce((a, b) => a * b, 1n));
  if (elemType === ELEMENT_TYPE.int64)
    return create(TensorProtoSchema, { name, dims, dataType: elemType, int64Data: Array<bigint>(n).fill(1n) });
  if (elemType === ELEMENT_TYPE.bool)
    return create(TensorProtoSchema, { name, dims, dataType: elemType, int32Data: Array<number>(n).fill(1) });
  return create(TensorProtoSchema, { name, dims, dataType: elemType, floatData: Array<number>(n).fill(1) });
}
