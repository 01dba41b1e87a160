/** @file The kernels of image resampling, as functions of the distance in pixels. */

/** An even function that is 0 beyond `radius`. */
export interface Kernel {
  readonly radius: number;
  weight(x: number): number;
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));

/**
 * Keys' cubic convolution, 1981. The terms stand in the order that Pillow and PyTorch evaluate, so that the last bits agree.
 * @param a slope at distance 1
 */
export const cubic = (a: number): Kernel => ({
  radius: 2,
  weight: (x) => {
    const d = Math.abs(x);
    if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
    return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
  },
});

/** Half open, so that a pixel on the edge of two cells counts once. */
const box: Kernel = { radius: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) };
export const triangle: Kernel = { radius: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) };
/** Both coefficients are float32 in Pillow. */
const hamming: Kernel = {
  radius: 1,
  weight: (x) => (Math.abs(x) >= 1 ? 0 : sinc(x) * (Math.fround(0.54) + Math.fround(0.46) * Math.cos(x * Math.PI))),
};
const lanczos: Kernel = { radius: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) };

/** Pillow's filters by name. Its cubic has a = -0.5. */
export const PIL_KERNELS = { box, bilinear: triangle, hamming, bicubic: cubic(-0.5), lanczos } as const satisfies Readonly<
  Record<string, Kernel>
>;
