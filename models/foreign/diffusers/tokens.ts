/** @file Images as tokens: patches, tables of sines and cosines for their places, modulation by a condition, and hidden maps of a transformer's blocks. */
import { add, mul, silu } from '../../../engine/graph/ops/elementwise.ts';
import { reshape, split } from '../../../engine/graph/ops/movement.ts';
import { layerNorm as normaliseRow } from '../../../engine/graph/ops/normalize.ts';
import { fixed, ShapeError, show, type Tensor } from '../../../engine/graph/tensor.ts';
import { InputError } from '../../../engine/io/errors.ts';
import type { Scope } from '../../../engine/train/network.ts';
import { patchEmbed as embedPatches } from '../../dit.ts';
import { dense, sidesOf, toMap } from './layers.ts';

export { unpatch } from '../../dit.ts';

export interface Grid {
  readonly rows: number;
  readonly columns: number;
}
/** How many patches an image has. Errors: ShapeError where it does not split into them. */
export function gridOf(where: string, image: Tensor, patch: number): Grid {
  const [height, width] = sidesOf(image);
  if (height % patch !== 0 || width % patch !== 0) throw new ShapeError(`${where}: ${show(image)} does not split into patches of ${patch}`);
  return { rows: height / patch, columns: width / patch };
}

/** PatchEmbed without places: `proj.weight`, `proj.bias`. [N,C,H,W] → [N,T,width] */
export const patchEmbed = embedPatches;

/**
 * The table [rows·columns, width] of PatchEmbed: sines then cosines of the column, then those of the row, at frequencies 10000^(−k/(width/4)).
 * Places are stretched so that a grid of any size spans `base` of them, and divided by `scale`.
 */
export function places({ rows, columns }: Grid, width: number, base: number, scale: number): Float32Array {
  const n = width / 4;
  const frequencies = Array.from({ length: n }, (_, k) => 1e4 ** (-k / n));
  const table = new Float32Array(rows * columns * width);
  const write = (at: number, place: number): void => {
    frequencies.forEach((w, k) => {
      table[at + k] = Math.sin(place * w);
      table[at + n + k] = Math.cos(place * w);
    });
  };
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++) {
      const at = (r * columns + c) * width;
      write(at, c / (columns / base) / scale);
      write(at + 2 * n, r / (rows / base) / scale);
    }
  return table;
}
/** Errors: InputError for a width that does not split into four waves. */
export function checkWidth(where: string, width: number): void {
  if (width % 4 !== 0)
    throw new InputError(`${where}: a width of ${width} does not split into sines and cosines of two places; use a multiple of 4`);
}

/** Parts of a layer of the condition [N,D], as [N,1,width] each. */
export function modulation(scope: Scope, name: string, condition: Tensor, width: number, parts: number): readonly Tensor[] {
  const all = dense(scope, name, silu(condition), parts * width);
  return split(reshape(all, [all.shape[0]!, 1, parts * width]), new Array<number>(parts).fill(width), 2);
}
/** Parts of a table [parts, width] plus a vector for each of them, [N, parts·width], or one for all, [N, width]. */
export function tableModulation(scope: Scope, vector: Tensor, width: number, parts: number): readonly Tensor[] {
  const table = reshape(scope('scale_shift_table', [parts, width], { kind: 'normal', std: 1 / Math.sqrt(width) }), [1, parts, width]);
  const sum = add(table, reshape(vector, [vector.shape[0]!, -1, width])); // [N, parts, width]
  return split(sum, new Array<number>(parts).fill(1), 1);
}
/** x(1 + scale) + shift. */
export const shifted = (x: Tensor, shift: Tensor, scale: Tensor): Tensor => add(mul(x, add(scale, 1)), shift);
/** The same after a norm without weights. */
export const modulated = (x: Tensor, shift: Tensor, scale: Tensor, eps = 1e-6): Tensor =>
  shifted(normaliseRow(x, undefined, undefined, eps), shift, scale);

/** The tokens after block i as a map, and that of the middle block as the bottleneck. */
export function tokenFeatures(after: readonly Tensor[], { rows, columns }: Grid): Record<string, Tensor> {
  const maps = after.map((tokens) => toMap(tokens, [rows, columns]));
  const middle = maps[Math.floor((maps.length - 1) / 2)];
  return { ...Object.fromEntries(maps.map((map, i) => [`block${i}`, map])), ...(middle ? { bottleneck: middle } : {}) };
}
export const widthOf = (tokens: Tensor): number => fixed('tokens', tokens.shape.at(-1));
