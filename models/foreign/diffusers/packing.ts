/** @file How Flux sees images: neighbouring pixels as one token, each with its place. https://github.com/black-forest-labs/flux */
import { constant } from '../../../engine/graph/ops/leaf.ts';
import { reshape, transpose } from '../../../engine/graph/ops/movement.ts';
import { fixed, ShapeError, show, type Tensor } from '../../../engine/graph/tensor.ts';
import { toMap, toTokens } from './layers.ts';

/** [N,C,H,W] → [N,HW/4,4C]: neighbouring pixels as one token, channels first; and back. */
export function packed(x: Tensor): Tensor {
  const [n, c, h, w] = x.shape as [Tensor['shape'][number], number, number, number];
  if (h % 2 !== 0 || w % 2 !== 0) throw new ShapeError(`Flux: ${show(x)} does not split into pairs of pixels`);
  const cut = transpose(reshape(x, [n, c, h / 2, 2, w / 2, 2]), [0, 1, 3, 5, 2, 4]); // [N, C, 2, 2, H/2, W/2]
  return toTokens(reshape(cut, [n, 4 * c, h / 2, w / 2]));
}
export function unpacked(tokens: Tensor, h: number, w: number): Tensor {
  const map = toMap(tokens, [h / 2, w / 2]);
  const c = fixed('Flux', map.shape[1]) / 4;
  const cut = transpose(reshape(map, [map.shape[0]!, c, 2, 2, h / 2, w / 2]), [0, 1, 4, 2, 5, 3]);
  return reshape(cut, [map.shape[0]!, c, h, w]);
}
/** Places of the picture's tokens, (0, row, column). */
export const imagePlaces = (rows: number, columns: number): Tensor => {
  const each = Array.from({ length: rows * columns }, (_, i) => [0, Math.floor(i / columns), i % columns]);
  return constant(Float64Array.from(each.flat()), [rows * columns, 3]);
};
