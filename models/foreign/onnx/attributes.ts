/** @file Attributes of ONNX nodes, read by name and type. */
import type { AttributeProto, GraphProto, NodeProto, TensorProto } from 'onnx-buf';

/** Kinds of the format. */
const KIND = { float: 1, int: 2, string: 3, tensor: 4, graph: 5, floats: 6, ints: 7 } as const;

export interface Attributes {
  has(name: string): boolean;
  int(name: string, missing?: number): number;
  float(name: string, missing?: number): number;
  string(name: string, missing?: string): string;
  /** Undefined where it is missing. */
  ints(name: string): readonly number[] | undefined;
  floats(name: string): readonly number[] | undefined;
  tensor(name: string): TensorProto | undefined;
  graph(name: string): GraphProto | undefined;
}

/**
 * @param outer attributes of the function call that the node is a part of
 * @param fail throws the node's error
 */
export function attributesOf(
  node: Pick<NodeProto, 'attribute'>,
  outer: ReadonlyMap<string, AttributeProto>,
  fail: (message: string) => never,
): Attributes {
  const byName = new Map<string, AttributeProto>();
  for (const a of node.attribute) {
    const value = a.refAttrName === '' ? a : outer.get(a.refAttrName);
    if (value) byName.set(a.name, value);
  }
  const get = (name: string, kind: keyof typeof KIND): AttributeProto | undefined => {
    const found = byName.get(name);
    // Files of the first versions leave the kind open.
    if (found && (found.type as number) !== 0 && (found.type as number) !== KIND[kind])
      fail(`its attribute ${name} is not of the kind ${kind}`);
    return found;
  };
  const needed = <T>(name: string, value: T | undefined): T => value ?? fail(`its attribute ${name} is missing`);
  return {
    has: (name) => byName.has(name),
    int: (name, missing) => Number(get(name, 'int')?.i ?? needed(name, missing)),
    float: (name, missing) => get(name, 'float')?.f ?? needed(name, missing),
    string: (name, missing) => {
      const found = get(name, 'string');
      return found ? new TextDecoder().decode(found.s) : needed(name, missing);
    },
    ints: (name) => get(name, 'ints')?.ints.map(Number),
    floats: (name) => get(name, 'floats')?.floats,
    tensor: (name) => get(name, 'tensor')?.t,
    graph: (name) => get(name, 'graph')?.g,
  };
}

/** The attributes that a call of a function hands on. */
export const handedOn = (node: NodeProto, outer: ReadonlyMap<string, AttributeProto>): ReadonlyMap<string, AttributeProto> =>
  new Map(
    node.attribute.flatMap((a): [string, AttributeProto][] => {
      const value = a.refAttrName === '' ? a : outer.get(a.refAttrName);
      return value ? [[a.name, value]] : [];
    }),
  );
