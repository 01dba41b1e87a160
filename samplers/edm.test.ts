/** @file Whole trajectories against NVlabs/edm's samplers and FastGen's student sampling, in float64. */
import { describe, expect, test } from 'vitest';
import { deviation, readGolden, row } from '../engine/testing/golden-tensors.ts';
import { iddpmLevels } from '../models/precondition-table.ts';
import { sampler } from './index.ts';
import { karras, studentLevels } from './karras.ts';
import { heunOn } from './path-heun.ts';
import { edm, levelAt, type Path, rectifiedFlow, trigFlow, vpSde } from './paths.ts';
import { scheduleLevels } from './schedules.ts';
import { readWhole } from './testing/golden-files.ts';
import { type Run, referenceMixture, scaled, trajectory } from './testing/trajectories.ts';

interface EdmCase {
  readonly name: string;
  readonly num_steps: number;
  readonly solver?: string;
  readonly discretization?: string;
  readonly schedule?: string;
  readonly scaling?: string;
  readonly alpha?: number;
  readonly S_churn?: number;
  readonly S_min?: number;
  readonly S_max?: number;
  readonly S_noise?: number;
}
const mix = readGolden<unknown>('samplers/gaussian_mixture');
const kinds = ['points', 'images'];

/**
 * Levels of improved DDPM between .002 and 81, n of them evenly spaced by index (Karras et al. 2022, appendix C.3.4), as the reference has them:
 * its ᾱ are float32, which moves its lowest level by 5e-4. Heun's method visits each level twice but the first.
 */
function iddpm(n: number, calls: Float64Array): readonly number[] {
  const inside = iddpmLevels()
    .filter((u) => u >= 0.002 && u <= 81)
    .toReversed();
  return Array.from({ length: n }, (_, i) => {
    const ours = inside[Math.round(((inside.length - 1) / (n - 1)) * i)]!;
    const theirs = calls[2 * i]!;
    expect(Math.abs(ours / theirs - 1)).toBeLessThan(1e-3);
    return theirs;
  });
}

/** σ = √t, as the variance-exploding SDE has it. */
const root: Path = {
  alpha: () => 1,
  sigma: Math.sqrt,
  slope: (t) => ({ alpha: 0, sigma: 0.5 / Math.sqrt(t) }),
  time: (ratio) => ratio ** 2,
};
/** β of a variance-preserving process that has its highest level at time 1 and its lowest at 0.001. */
function fitted(sigmaMin: number, sigmaMax: number): Path {
  const [low, high] = [Math.log1p(sigmaMin ** 2), Math.log1p(sigmaMax ** 2)];
  const betaD = (2 * (low / 0.001 - high)) / (0.001 - 1);
  return vpSde({ betaD, betaMin: high - betaD / 2 });
}
/** The process in whose time a case steps; null for ours. */
function pathOf({ schedule = 'linear', scaling = 'none' }: EdmCase, levels: readonly number[]): Path | null {
  if (schedule === 've') return root;
  return schedule === 'vp' && scaling === 'vp' ? fitted(levels.at(-1)!, levels[0]!) : null;
}
function levelsFor({ discretization = 'edm', num_steps: n }: EdmCase, calls: Float64Array): readonly number[] {
  if (discretization === 'iddpm') return iddpm(n, calls);
  // Both highest and lowest levels are those of the SDEs' own times.
  if (discretization === 'vp') return scheduleLevels('vp', n, { sigmaMin: levelAt(vpSde(), 0.001), sigmaMax: levelAt(vpSde(), 1) });
  if (discretization === 've') return scheduleLevels('exponential', n, { sigmaMin: 0.02, sigmaMax: 100 });
  return scheduleLevels('karras', n, { sigmaMin: 0.002, sigmaMax: 80 });
}
function chosen({ solver = 'heun', alpha, S_churn, S_min, S_max, S_noise }: EdmCase) {
  if (solver === 'euler') return sampler('euler');
  const given = { second: alpha, churn: S_churn, churnMin: S_min, churnMax: S_max, noiseScale: S_noise };
  return sampler('heun', Object.fromEntries(Object.entries(given).filter(([, v]) => v !== undefined)));
}

describe.skipIf(!mix).each(['edm_heun', 'edm_ablation'])('%s', (file) => {
  const golden = readWhole<{ readonly tolerance: number; readonly cases: readonly EdmCase[] }>(`samplers/${file}`)!;
  test.each(golden.config.cases.flatMap((c) => kinds.map((kind) => ({ ...c, kind }))))('$name, $kind', (c) => {
    const at = `${c.kind}/${c.name}`;
    const levels = levelsFor(c, golden.has(`${at}/denoiser_sigma`) ? golden.tensor(`${at}/denoiser_sigma`).data : Float64Array.of());
    const path = pathOf(c, levels);
    const start = mix!.tensor(`${c.kind}/initial_noise`);
    const noise = c.S_churn ? Array.from({ length: c.num_steps }, (_, i) => row(golden.tensor(`${at}/noise`), i)) : [];
    const run = { denoise: referenceMixture(mix!, c.kind), x: scaled(start.data, levels[0]!), shape: start.shape, levels, noise };
    const ours = path ? throughTime(path, c, run) : trajectory({ ...run, sampler: chosen(c) });
    expect(deviation(ours, golden.tensor(`${at}/result`).data)).toBeLessThan(golden.config.tolerance);
  });
});

/** The last step is Euler's in the time of the process too, which does not lead to the denoised sample: it goes to time 0, at a level next to 0. */
function throughTime(path: Path, { solver }: EdmCase, { levels, ...run }: Omit<Run, 'sampler'>): Float64Array {
  const last = levels.at(-1)!;
  const x = trajectory({ ...run, levels: levels.slice(0, -1), sampler: heunOn(path, solver !== 'euler'), end: last });
  const ending: Path = { ...path, time: (ratio) => (ratio < last ? 0 : path.time(ratio)) };
  return trajectory({ ...run, x, levels: [last], sampler: heunOn(ending, false), end: 1e-13 });
}

interface StudentCase {
  readonly name: string;
  readonly schedule: 'edm' | 'rf' | 'trig';
  readonly student_sample_type: 'sde' | 'ode';
  readonly t_list: readonly number[] | null;
  readonly student_sample_steps: number;
}
const PATHS = { edm, rf: rectifiedFlow, trig: trigFlow() };

describe.skipIf(!mix)('student', () => {
  const golden = readGolden<{ readonly tolerance: number; readonly cases: readonly StudentCase[] }>('samplers/fastgen_student')!;
  test.each(golden.config.cases.flatMap((c) => kinds.map((kind) => ({ ...c, kind }))))('$name, $kind', (c) => {
    const at = `${c.kind}/${c.name}`;
    const path = PATHS[c.schedule];
    const times = c.t_list?.slice(0, -1) ?? studentLevels(karras(), c.student_sample_steps);
    const fresh = c.student_sample_type === 'sde';
    const count = fresh ? times.length - 1 : 0;
    const ours = trajectory({
      sampler: sampler('student', { noise: fresh ? 'fresh' : 'implied' }),
      denoise: referenceMixture(mix!, c.kind),
      x: scaled(row(golden.tensor(`${at}/x`), 0), 1 / path.alpha(times[0]!)),
      shape: golden.tensor(`${at}/result`).shape,
      levels: times.map((t) => levelAt(path, t)),
      noise: Array.from({ length: count }, (_, i) => row(golden.tensor(`${at}/noise`), i)),
    });
    expect(deviation(ours, golden.tensor(`${at}/result`).data)).toBeLessThan(golden.config.tolerance);
  });
});
