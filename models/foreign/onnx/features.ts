/** @file Hidden maps of imported networks, for whoever judges samples by what a network sees in them. */
import { reshape, swapLast } from '../../../engine/graph/ops/movement.ts';
import { show, type Tensor } from '../../../engine/graph/tensor.ts';
import { InputError } from '../../../engine/io/errors.ts';
import { nearest } from '../../../engine/io/nearest.ts';

type Values = ReadonlyMap<string, Tensor>;
const isMap = (t: Tensor): boolean => t.dtype === 'float32' && t.shape.length === 4;
const area = (t: Tensor): number => Number(t.shape[2]) * Number(t.shape[3]);

/** Ops after which a value is a new one of the network, not the same in other axes. */
const COMPUTING = ['conv2d', 'add', 'mul', 'div'];
/** The last value at the resolution of the smallest convolution; maps of one pixel are embeddings. */
function bottleneck(values: Values): Tensor | undefined {
  const maps = [...values.values()].filter((t) => isMap(t) && area(t) > 1);
  const convolved = maps.filter((t) => t.node.op.name === 'conv2d');
  const smallest = Math.min(...convolved.map(area));
  const sizes = new Set(convolved.filter((t) => area(t) === smallest).map((t) => t.shape.slice(2).join()));
  return maps.findLast((t) => sizes.has(t.shape.slice(2).join()) && COMPUTING.includes(t.node.op.name));
}

/** [N,L,C] as [N,C,√L,√L]. */
function asMap(where: string, name: string, t: Tensor): Tensor {
  if (isMap(t)) return t;
  const side = Math.sqrt(Number(t.shape[1]));
  if (t.shape.length !== 3 || !Number.isInteger(side))
    throw new InputError(
      `${where}: the hidden value ${JSON.stringify(name)} is ${show(t)}; it must be a map [N,C,h,w], or tokens [N,L,C] of a square`,
    );
  return reshape(swapLast(t), [t.shape[0]!, t.shape[2]!, side, side]);
}

/** Errors: names that the file does not have, or values that are no maps. */
export function hiddenMaps(where: string, values: Values, named?: Readonly<Record<string, string>>): Readonly<Record<string, Tensor>> {
  if (!named) {
    const found = bottleneck(values);
    return found ? { bottleneck: found } : {};
  }
  return Object.fromEntries(
    Object.entries(named).map(([key, name]) => {
      const value = values.get(name);
      if (value) return [key, asMap(where, name, value)];
      const near = nearest(name, [...values.keys()]);
      throw new InputError(`${where}: has no value called ${JSON.stringify(name)}${near ? `; did you mean ${near}?` : ''}`);
    }),
  );
}
