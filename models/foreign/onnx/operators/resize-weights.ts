/** @file What each place of a resized axis reads. The formulas are those of the operator's specification. */

export interface Kernel {
  readonly mode: 'nearest' | 'linear' | 'cubic';
  readonly transform: string;
  readonly nearest: string;
  readonly cubic: number;
  readonly excludeOutside: boolean;
  readonly antialias: boolean;
}
export interface Axis {
  readonly axis: number;
  readonly from: number;
  readonly to: number;
  readonly scale: number;
}
type Fail = (message: string) => never;
/** Where place i of the new axis lies on the old one. */
type Transform = (i: number, axis: Axis) => number;

const TRANSFORMS: Readonly<Record<string, Transform>> = {
  half_pixel: (i, { scale }) => (i + 0.5) / scale - 0.5,
  half_pixel_symmetric: (i, { from, to, scale }) => {
    const adjustment = to / (from * scale);
    return (from / 2) * (1 - adjustment) + (i + 0.5) / scale - 0.5;
  },
  pytorch_half_pixel: (i, { to, scale }) => (to > 1 ? (i + 0.5) / scale - 0.5 : 0),
  align_corners: (i, { from, to }) => (to > 1 ? (i * (from - 1)) / (to - 1) : 0),
  asymmetric: (i, { scale }) => i / scale,
  tf_half_pixel_for_nn: (i, { scale }) => (i + 0.5) / scale,
};
const ROUNDINGS: Readonly<Record<string, (v: number) => number>> = {
  round_prefer_floor: (v) => Math.ceil(v - 0.5),
  round_prefer_ceil: (v) => Math.floor(v + 0.5),
  floor: Math.floor,
  ceil: Math.ceil,
};
const transformOf = (name: string, fail: Fail): Transform =>
  TRANSFORMS[name] ?? fail(`its coordinate_transformation_mode is ${name}; supported are ${Object.keys(TRANSFORMS).join(', ')}`);
const inside = (j: number, n: number): number => Math.min(Math.max(j, 0), n - 1);

export function nearestIndex(kernel: Kernel, axis: Axis, fail: Fail): readonly number[] {
  const at = transformOf(kernel.transform, fail);
  const round =
    ROUNDINGS[kernel.nearest] ?? fail(`its nearest_mode is ${kernel.nearest}; supported are ${Object.keys(ROUNDINGS).join(', ')}`);
  return Array.from({ length: axis.to }, (_, i) => inside(round(at(i, axis)), axis.from));
}

/** Keys 1981, eq. (4). */
function cubic(distance: number, a: number): number {
  const d = Math.abs(distance);
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
}
const linear = (distance: number): number => Math.max(1 - Math.abs(distance), 0);

/** The matrix [to, from] of one axis. Places beyond the ends are those at the ends, or do not count. */
export function weightsOf(kernel: Kernel, axis: Axis, fail: Fail): Float64Array {
  const { from, to, scale } = axis;
  const at = transformOf(kernel.transform, fail);
  const weight = kernel.mode === 'cubic' ? (d: number) => cubic(d, kernel.cubic) : linear;
  // Shrinking with antialiasing stretches the kernel over all that falls into one place.
  const stretch = kernel.antialias ? Math.min(scale, 1) : 1;
  const reach = (kernel.mode === 'cubic' ? 2 : 1) / stretch;
  const matrix = new Float64Array(to * from);
  for (let i = 0; i < to; i++) {
    const center = at(i, axis);
    const row = matrix.subarray(i * from, (i + 1) * from);
    let total = 0;
    for (let j = Math.floor(center - reach) + 1; j <= Math.ceil(center + reach) - 1; j++) {
      const outside = j < 0 || j >= from;
      const w = outside && kernel.excludeOutside ? 0 : weight((j - center) * stretch);
      row[inside(j, from)]! += w;
      total += w;
    }
    if (total !== 0 && total !== 1) for (let j = 0; j < from; j++) row[j]! /= total;
  }
  return matrix;
}
