/** @file Special functions in float64 for the reference interpreter. */

/**
 * The error function to float64 precision: Maclaurin series below 2.5, continued fraction of erfc above.
 * Abramowitz and Stegun 7.1.6 and 7.1.14.
 */
export function erf64(x: number): number {
  const a = Math.abs(x);
  if (Number.isNaN(x)) return Number.NaN;
  if (a > 6.5) return Math.sign(x);
  return Math.sign(x) * (a < 2.5 ? series(a) : 1 - tail(a));
}

/** 2/√π · e^{−x²} · Σ 2ⁿ x^{2n+1} / (1·3·…·(2n+1)): all terms positive, so nothing cancels. */
function series(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 1; term > sum * 1e-17; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

/** erfc by its continued fraction, evaluated from the far end. */
function tail(x: number): number {
  let f = x;
  for (let k = 60; k > 0; k--) f = x + k / 2 / f;
  return Math.exp(-x * x) / Math.sqrt(Math.PI) / f;
}

/** float32 → IEEE half precision bits, rounded to the nearest even; overflow becomes infinity. */
export function toHalf(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(bits.length);
  for (let i = 0; i < bits.length; i++) {
    const b = bits[i]!;
    const magnitude = b & 0x7fffffff;
    // Most values are here: the exponent's bias is changed, and rounding may carry into it, up to infinity.
    halves[i] =
      magnitude >= 0x38800000 && magnitude < 0x47800000
        ? ((b >>> 16) & 0x8000) | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13)
        : unusualHalf(b);
  }
  return halves;
}
/** Of bits whose half is subnormal, zero, infinite or not a number. */
function unusualHalf(b: number): number {
  const sign = (b >>> 16) & 0x8000;
  const magnitude = b & 0x7fffffff;
  if (magnitude >= 0x47800000) return sign | 0x7c00 | (magnitude > 0x7f800000 ? 0x200 : 0);
  const shift = 126 - (magnitude >>> 23);
  if (shift > 24) return sign;
  // Subnormal halves shift the implicit one in; what is shifted out decides the rounding.
  const full = (magnitude & 0x7fffff) | 0x800000;
  const kept = full >>> shift;
  const lost = full & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return sign | (kept + (lost > half || (lost === half && kept & 1) ? 1 : 0));
}
