/**
 * @file Weights of exponential integrators in λ = −ln σ, in float64: x′ = e⁻ʰ x + (1 − e⁻ʰ) Σ w_k D_k, where D_0 is the newest denoised sample
 * and the w_k sum to 1. The weights depend on the levels alone.
 */

/** w with Σ_k a[j][k] w_k = b[j], by elimination with pivots. Errors: a matrix without inverse. */
export function solve(a: readonly (readonly number[])[], b: readonly number[]): readonly number[] {
  const rows = a.map((row, j) => [...row, b[j]!]);
  const n = rows.length;
  for (let k = 0; k < n; k++) {
    const pivot = rows.slice(k).reduce((best, row, j) => (Math.abs(row[k]!) > Math.abs(rows[best]![k]!) ? k + j : best), k);
    if (rows[pivot]![k] === 0) throw new RangeError('internal: two levels of a multistep method are equal');
    [rows[k], rows[pivot]] = [rows[pivot]!, rows[k]!];
    for (let j = 0; j < n; j++) {
      if (j === k) continue;
      const factor = rows[j]![k]! / rows[k]![k]!;
      rows[j] = rows[j]!.map((v, c) => v - factor * rows[k]![c]!);
    }
  }
  return rows.map((row, k) => row[n]! / row[k]!);
}

/** How far λ moves between two levels: h. */
export const stepOf = (sigma: number, next: number): number => Math.log(sigma / next);

/**
 * How much of the difference between two denoised samples, extrapolated to the length of the step, a second-order solver takes. `midpoint`: half.
 * `heun`: (1/(1 − e⁻ᴴ) − 1/H), which is what the integral of a linear D gives; H is h for the ODE and 2h for the SDE.
 * The two agree up to third order. Lu et al. 2022, the second-order updates of DPM-Solver++, in the names of the authors' code.
 */
export const SOLVERS = ['midpoint', 'heun'] as const;
export function differenceShare(solver: (typeof SOLVERS)[number], exponent: number): number {
  if (solver === 'midpoint') return 0.5;
  // The closed form loses its digits where H is small.
  return exponent < 1e-3 ? 0.5 + exponent / 12 : -1 / Math.expm1(-exponent) - 1 / exponent;
}

/** Weights of `order` denoised samples, padded with 0: each is D_0 plus multiples of D_0 − D_k. */
export function weightsOf(multiples: readonly number[], count: number): readonly number[] {
  const total = multiples.reduce((a, b) => a + b, 0);
  return Array.from({ length: count }, (_, k) => (k === 0 ? 1 + total : -(multiples[k - 1] ?? 0)));
}

/**
 * DPM-Solver++(3M) from level i of `levels`, where D_1 and D_2 are of the two levels before; `order` 1 and 2 are its beginnings. `bend` is the share of
 * the second derivative that is used: 1 for third order.
 */
export function multistepWeights(levels: readonly number[], i: number, order: 1 | 2 | 3, bend = 1): readonly number[] {
  if (order === 1) return weightsOf([], 3);
  const h = stepOf(levels[i]!, levels[i + 1]!);
  const r0 = stepOf(levels[i - 1]!, levels[i]!) / h;
  if (order === 2) return weightsOf([1 / (2 * r0)], 3);
  const r1 = stepOf(levels[i - 2]!, levels[i - 1]!) / h;
  const decay = Math.expm1(-h); // e⁻ʰ − 1
  const first = (decay / h + 1) / -decay; // of the first difference
  const second = (2 * bend * ((decay + h) / h ** 2 - 0.5)) / decay; // of half the second, which is h² times the second derivative
  // Differences a = (D_0 − D_1)/r0 and b = (D_1 − D_2)/r1 enter as first (a + r0 (a − b)/(r0 + r1)) + second (a − b)/(r0 + r1).
  const curve = (first * r0 + second) / (r0 + r1);
  const [a, b] = [(first + curve) / r0, -curve / r1];
  return [1 + a, b - a, -b];
}
