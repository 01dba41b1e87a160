/** @file Continuous noise schedules in their own time, in float64: x_t = α(t) x0 + σ(t) ε. Our noise level is the ratio σ/α. */

export interface Path {
  alpha(t: number): number;
  sigma(t: number): number;
  /** dα/dt and dσ/dt. */
  slope(t: number): { readonly alpha: number; readonly sigma: number };
  /** The time at which σ/α is `ratio`. */
  time(ratio: number): number;
}
/** The variance-preserving path of a ratio σ/α, given with its derivative and its inverse. */
const fromRatio = (ratio: (t: number) => number, derivative: (t: number) => number, time: (ratio: number) => number): Path => ({
  alpha: (t) => 1 / Math.hypot(1, ratio(t)),
  sigma: (t) => ratio(t) / Math.hypot(1, ratio(t)),
  slope(t) {
    const shrink = derivative(t) / Math.hypot(1, ratio(t)) ** 3;
    return { alpha: -ratio(t) * shrink, sigma: shrink };
  },
  time,
});

/** Our noise level at time t. */
export const levelAt = (path: Path, t: number): number => path.sigma(t) / path.alpha(t);

/** EDM: the time is the noise level. Karras et al. 2022. */
export const edm: Path = { alpha: () => 1, sigma: (t) => t, slope: () => ({ alpha: 0, sigma: 1 }), time: (ratio) => ratio };

/** Variance-preserving SDE, t in [0, 1]: σ/α = √(exp(½ βd t² + βmin t) − 1). Song et al. 2021; Karras et al. 2022, table 1. */
export const vpSde = ({ betaD = 19.9, betaMin = 0.1 } = {}): Path =>
  fromRatio(
    (t) => Math.sqrt(Math.expm1((betaD / 2) * t * t + betaMin * t)),
    (t) =>
      ((betaD * t + betaMin) * Math.exp((betaD / 2) * t * t + betaMin * t)) / 2 / Math.sqrt(Math.expm1((betaD / 2) * t * t + betaMin * t)),
    (ratio) => (Math.sqrt(betaMin ** 2 + 2 * betaD * Math.log1p(ratio ** 2)) - betaMin) / betaD,
  );

/** Variance exploding, t in [0, 1]: σ = σmin (σmax/σmin)^t. Song et al. 2021. */
export const ve = ({ sigmaMin = 0.02, sigmaMax = 100 } = {}): Path => ({
  alpha: () => 1,
  sigma: (t) => sigmaMin * (sigmaMax / sigmaMin) ** t,
  slope: (t) => ({ alpha: 0, sigma: sigmaMin * (sigmaMax / sigmaMin) ** t * Math.log(sigmaMax / sigmaMin) }),
  time: (ratio) => Math.log(ratio / sigmaMin) / Math.log(sigmaMax / sigmaMin),
});

/** Cosine, t in (0, 1): σ/α = tan(π t/2)/shift. Nichol & Dhariwal 2021; shifted: Hoogeboom et al. 2023. */
export const cosine = (shift = 1): Path =>
  fromRatio(
    (t) => Math.tan((Math.PI / 2) * t) / shift,
    (t) => Math.PI / 2 / Math.cos((Math.PI / 2) * t) ** 2 / shift,
    (ratio) => (2 / Math.PI) * Math.atan(ratio * shift),
  );

/** Rectified flow, t in [0, 1): x_t = (1 − t) x0 + t ε. The level is infinite at 1. Liu et al. 2022. */
export const rectifiedFlow: Path = {
  alpha: (t) => 1 - t,
  sigma: (t) => t,
  slope: () => ({ alpha: -1, sigma: 1 }),
  time: (ratio) => ratio / (1 + ratio),
};

/** TrigFlow, t in [0, π/2): x_t = cos t x0 + sin t z with z of standard deviation σd. Lu & Song 2025. */
export const trigFlow = (sigmaData = 1): Path => ({
  alpha: Math.cos,
  sigma: (t) => sigmaData * Math.sin(t),
  slope: (t) => ({ alpha: -Math.sin(t), sigma: sigmaData * Math.cos(t) }),
  time: (ratio) => Math.atan(ratio / sigmaData),
});

/** ln(α²/σ²) at time t, and the level at which it is `value`. */
export const logSnr = (path: Path, t: number): number => -2 * Math.log(levelAt(path, t));
export const levelOfLogSnr = (value: number): number => Math.exp(-value / 2);
