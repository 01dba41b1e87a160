/** @file Bicubic interpolation smoothed where it shrinks, as PyTorch's `interpolate` with `antialias=True`: one constant matrix per axis. */
import { constant } from '../../engine/graph/ops/leaf.ts';
import { matmul } from '../../engine/graph/ops/linalg.ts';
import { swapLast } from '../../engine/graph/ops/movement.ts';
import { fixed, type Tensor } from '../../engine/graph/tensor.ts';

/** Cubic convolution with a = −0.5, the constant of Pillow, which PyTorch takes once it smooths. Keys 1981, eq. (4). */
function cubic(t: number): number {
  const d = Math.abs(t);
  if (d <= 1) return (1.5 * d - 2.5) * d * d + 1;
  return d < 2 ? ((-0.5 * d + 2.5) * d - 4) * d + 2 : 0;
}

/** [to, from]: the filter is as wide as the scale where that is above 1, cut off at the borders and normalised. */
function weights(from: number, to: number): Tensor {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const rows = Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const low = Math.max(Math.trunc(centre - 2 * stretch + 0.5), 0);
    const high = Math.min(Math.trunc(centre + 2 * stretch + 0.5), from);
    const row = Array.from({ length: from }, (_, j) => (j >= low && j < high ? cubic((j + 0.5 - centre) / stretch) : 0));
    const total = row.reduce((a, b) => a + b, 0);
    return row.map((v) => v / total);
  });
  return constant(Float64Array.from(rows.flat()), [to, from]);
}

/** [N,C,H,W] → [N,C,height,width]. */
export function resizeAntialiased(x: Tensor, [height, width]: readonly [number, number]): Tensor {
  const [h, w] = [fixed('resize', x.shape[2]), fixed('resize', x.shape[3])];
  return matmul(weights(h, height), matmul(x, swapLast(weights(w, width))));
}
