/** @file Noise schedules against stored lists and closed forms. */
import { describe, expect, test } from 'vitest';
import { constant } from '../engine/graph/ops/leaf.ts';
import { evaluate } from '../engine/graph/reference.ts';
import { deviation } from '../engine/testing/golden-tensors.ts';
import { alphasCumprod, type BetaSchedule, betas, levelsOf, spaced, tabulated, zeroTerminal } from './betas.ts';
import { dynamicShift, flowTimes, shiftTime, unshiftTime } from './flow-times.ts';
import { karras, nearestIndex, studentLevels } from './karras.ts';
import { cosine, edm, levelAt, levelOfLogSnr, logSnr, type Path, rectifiedFlow, trigFlow, ve, vpSde } from './paths.ts';
import { scheduleLevels } from './schedules.ts';
import { goldenStems, readWhole } from './testing/golden-files.ts';

const [lists, tables, family, shifted, flows, trig, converted] = [
  'karras',
  'betas',
  'edm_family',
  'cosine',
  'flow_match',
  'trigflow',
  'conversions',
].map((name) => readWhole<never>(`schedules/${name}`));
const quantiles = (schedule: { quantile: ReturnType<typeof karras>['quantile'] }, u: readonly number[]) =>
  evaluate([schedule.quantile(constant(Float64Array.from(u), [u.length]))])[0]!.data;

describe.skipIf(!lists)('karras', () => {
  interface Case {
    readonly num_steps: number;
    readonly rho: number;
    readonly sigma_min: number;
    readonly sigma_max: number;
    readonly min_step: number;
    readonly max_step: number;
  }
  const { cases } = lists!.config as { cases: readonly Case[] };
  test.each(cases.map((c, i) => ({ ...c, i })))('$num_steps levels with ρ $rho from $sigma_max to $sigma_min', (c) => {
    const schedule = karras({ sigmaMin: c.sigma_min, sigmaMax: c.sigma_max, rho: c.rho });
    const ascending = schedule.levels(c.num_steps).toReversed();
    expect(deviation(ascending, lists!.tensor(`case${c.i}/sigmas_ascending`).data)).toBeLessThan(1e-12);
    const queries = [...lists!.tensor(`case${c.i}/closest_index_query`).data];
    expect(queries.map((q) => nearestIndex(ascending, q))).toEqual([...lists!.tensor(`case${c.i}/closest_index`).data]);
    if (lists!.has(`case${c.i}/edm_sampler_t_steps`)) {
      expect(deviation([...schedule.levels(c.num_steps), 0], lists!.tensor(`case${c.i}/edm_sampler_t_steps`).data)).toBeLessThan(1e-12);
    }
    for (const k of [1, 2, 4].filter((n) => lists!.has(`case${c.i}/fastgen_t_list_${n}`))) {
      const ours = studentLevels(schedule, k, { of: c.num_steps, from: c.max_step, to: c.min_step });
      expect(deviation([...ours, 0], lists!.tensor(`case${c.i}/fastgen_t_list_${k}`).data)).toBeLessThan(1e-12);
    }
  });
  test('DMD2 keeps its list in float32', () => {
    expect(deviation(karras().levels(1000), lists!.tensor('dmd2_karras_float32_descending').data)).toBeLessThan(4.5e-6);
  });
});
test('one Karras level is the highest, and the ends are exact', () => {
  expect(karras().levels(1)).toEqual([80]);
  expect(karras().levels(2)).toEqual([80, 0.002]);
});
test('quantiles are the levels by fraction', () => {
  const u = Array.from({ length: 18 }, (_, i) => 1 - i / 17);
  for (const schedule of [karras(), karras({ rho: 3, sigmaMin: 0.1 }), tabulated([0.01, 0.02, 0.5, 3, 100])]) {
    expect(deviation(quantiles(schedule, u), schedule.levels(18))).toBeLessThan(1e-12);
  }
});
test('karras refuses levels out of order', () => {
  expect(() => karras({ sigmaMin: 2, sigmaMax: 1 })).toThrow('karras: sigmaMin 2 is not below sigmaMax 1');
  expect(() => karras({ rho: 0.5 })).toThrow('karras.rho: 0.5');
});

describe.skipIf(!tables)('betas', () => {
  interface Case {
    readonly beta_schedule: BetaSchedule;
    readonly beta_start: number;
    readonly beta_end: number;
    readonly num_train_timesteps: number;
    readonly rescale_betas_zero_snr: boolean;
  }
  const { cases } = tables!.config as { cases: readonly Case[] };
  test.each(cases.map((c, i) => ({ ...c, i })))('$beta_schedule, $num_train_timesteps, zero terminal SNR: $rescale_betas_zero_snr', (c) => {
    const beta = betas(c.beta_schedule, { start: c.beta_start, end: c.beta_end, n: c.num_train_timesteps });
    const zero = c.rescale_betas_zero_snr;
    const alphaBar = zero ? zeroTerminal(alphasCumprod(beta)) : alphasCumprod(beta);
    const rescaled = alphaBar.map((a, i) => 1 - a / (alphaBar[i - 1] ?? 1));
    expect(deviation(zero ? rescaled : beta, tables!.tensor(`case${c.i}/betas`).data)).toBeLessThan(1e-5); // float32 there
    expect(deviation(alphaBar, tables!.tensor(`case${c.i}/alphas_cumprod_float64`).data)).toBeLessThan(1e-12);
    const snr = levelsOf(alphaBar).map((level) => Math.max(-60, -2 * Math.log(level)));
    if (tables!.has(`case${c.i}/log_snr_float64`))
      expect(deviation(snr, tables!.tensor(`case${c.i}/log_snr_float64`).data)).toBeLessThan(1e-9);
  });
});
test('levels of a tabulated schedule keep to the table', () => {
  const table = levelsOf(alphasCumprod(betas('scaled_linear', { start: 0.00085, end: 0.012 })));
  expect(table[999]).toBeCloseTo(14.6146, 3); // Stable Diffusion's σ_max as its samplers print it
  expect(deviation(tabulated(table).levels(1000), table.toReversed())).toBeLessThan(1e-12);
});
// Lin et al. 2023, table 2: 10 steps of 1,000.
test('spacings', () => {
  expect(spaced('leading', 10, 1000, 1)).toEqual([901, 801, 701, 601, 501, 401, 301, 201, 101, 1]);
  expect(spaced('trailing', 10)).toEqual([999, 899, 799, 699, 599, 499, 399, 299, 199, 99]);
  expect(spaced('linspace', 10)).toEqual([999, 888, 777, 666, 555, 444, 333, 222, 111, 0]);
});

test.skipIf(!family)('VP and VE in their own time', () => {
  const data = (name: string) => family!.tensor(name).data;
  const vp = vpSde();
  expect(
    deviation(
      data('vp/t').map((t) => levelAt(vp, t)),
      data('vp/sigma'),
    ),
  ).toBeLessThan(1e-9);
  expect(
    deviation(
      data('vp/sigma').map((s) => vp.time(s)),
      data('vp/t'),
    ),
  ).toBeLessThan(1e-9);
  expect(
    deviation(
      data('u').map((t) => ve().sigma(t)),
      data('ve/sigma'),
    ),
  ).toBeLessThan(1e-9);
  expect(
    deviation(
      data('ve/sigma').map((s) => ve().time(s)),
      data('u'),
    ),
  ).toBeLessThan(1e-9);
});
test.skipIf(!shifted).each([0.25, 0.5, 1])('cosine, shift %f', (shift) => {
  const t = shifted!.tensor('t').data;
  const path = cosine(shift);
  const read = (name: string) => shifted!.tensor(`shift_${shift}/${name}`).data;
  expect(deviation(t.map(path.alpha), read('alpha'))).toBeLessThan(1e-12);
  expect(deviation(t.map(path.sigma), read('sigma'))).toBeLessThan(1e-12);
  expect(
    deviation(
      t.map((v) => logSnr(path, v)),
      read('log_snr'),
    ),
  ).toBeLessThan(1e-12);
});
test.skipIf(!trig)('TrigFlow', () => {
  const read = (name: string) => trig!.tensor(name).data;
  const path = trigFlow(0.5);
  expect(deviation(read('edm/sigma').map(path.time), read('edm/t_hat'))).toBeLessThan(1e-10);
  expect(
    deviation(
      read('to_edm/t_hat').map((t) => levelAt(path, t)),
      read('to_edm/t'),
    ),
  ).toBeLessThan(1e-10);
  expect(
    deviation(
      read('to_rf/t_hat').map((t) => rectifiedFlow.time(levelAt(path, t))),
      read('to_rf/t'),
    ),
  ).toBeLessThan(1e-10);
  expect(
    deviation(
      read('trig/t').map((t) => 1 / levelAt(trigFlow(), t)),
      read('trig/sqrt_snr'),
    ),
  ).toBeLessThan(1e-10);
});
test.skipIf(!converted).each([
  ['edm', edm],
  ['rf', rectifiedFlow],
  ['trig', trigFlow()],
] as const)('α and σ of %s', (name, path: Path) => {
  const t = converted!.tensor(`${name}/t`).data;
  expect(
    deviation(
      t.map((v) => path.alpha(v)),
      converted!.tensor(`${name}/alpha`).data,
    ),
  ).toBeLessThan(1e-9);
  expect(
    deviation(
      t.map((v) => path.sigma(v)),
      converted!.tensor(`${name}/sigma`).data,
    ),
  ).toBeLessThan(1e-9);
});
test.each([
  ['edm', edm],
  ['vpSde', vpSde()],
  ['ve', ve()],
  ['cosine', cosine(0.5)],
  ['rectifiedFlow', rectifiedFlow],
  ['trigFlow', trigFlow(0.5)],
] as const)('the time of %s undoes its level', (_, path: Path) => {
  for (const t of [0.01, 0.3, 0.7, 0.99]) expect(path.time(levelAt(path, t))).toBeCloseTo(t, 12);
});

describe.skipIf(!flows)('flow times', () => {
  interface Case {
    readonly num_inference_steps: number;
    readonly mu: number | null;
    readonly shift?: number;
    readonly time_shift_type?: string;
    readonly use_karras_sigmas?: boolean;
    readonly use_exponential_sigmas?: boolean;
    readonly shift_terminal?: number;
    readonly invert_sigmas?: boolean;
  }
  const { cases } = flows!.config as { cases: readonly Case[] };
  /** The list without its end. The configurations spread the shifted lowest time of 1,000, and shift it once more. */
  function times(c: Case): readonly number[] {
    const dynamic = c.mu !== null;
    const shift = c.mu === null ? c.shift! : c.time_shift_type === 'linear' ? c.mu : Math.exp(c.mu);
    const low = dynamic ? 1 / 1000 : shiftTime(1 / 1000, shift);
    const plain = flowTimes(c.num_inference_steps, { low, shift, terminal: c.shift_terminal ?? 0 });
    const ends = { sigmaMin: plain.at(-1)!, sigmaMax: plain[0]! };
    if (c.use_karras_sigmas) return scheduleLevels('karras', plain.length, ends);
    if (c.use_exponential_sigmas) return scheduleLevels('exponential', plain.length, ends);
    return c.invert_sigmas ? plain.map((t) => 1 - t) : plain;
  }
  test.each(cases.map((c, i) => ({ ...c, i })))('case $i: $num_inference_steps steps, shift $shift, μ $mu $time_shift_type', (c) => {
    const ours = times(c);
    expect(deviation([...ours, c.invert_sigmas ? 1 : 0], flows!.tensor(`case${c.i}/sigmas`).data)).toBeLessThan(1e-6);
    const listed = flows!.tensor(`case${c.i}/timesteps`).data;
    expect(
      deviation(
        ours.map((t) => 1000 * t),
        listed,
      ),
    ).toBeLessThan(1e-6);
  });
  test('shift of the trained times', () => {
    const ours = Array.from({ length: 1000 }, (_, i) => shiftTime(1 - i / 1000, 3));
    expect(deviation(ours, flows!.tensor('training_sigmas').data)).toBeLessThan(1e-6);
  });
});
test('shifts of flows', () => {
  expect(unshiftTime(shiftTime(0.3, 5), 5)).toBeCloseTo(0.3, 14);
  // FLUX: 0.5 at 256 tokens, 1.15 at 4,096, linear between and beyond.
  expect([256, 4096, 2176].map((tokens) => Math.log(dynamicShift(tokens)))).toEqual([
    0.5,
    expect.closeTo(1.15, 12),
    expect.closeTo(0.825, 12),
  ]);
});

/** What other tests compare, and where. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  boundary_scalings: 'consistency functions, in models/precondition.test.ts and losses/ct.test.ts',
  consistency_times: 'curricula, in losses/consistency-terms.test.ts',
  time_samplers: 'levels drawn in training, in losses/consistency-terms.test.ts and losses/flow-terms.test.ts',
  loss_weights: 'weights of losses, in losses/weight-terms.test.ts',
};
test.skipIf(!lists)('no file of reference schedules is left out', () => {
  const here = ['karras', 'betas', 'edm_family', 'cosine', 'flow_match', 'trigflow', 'conversions'];
  expect(goldenStems('schedules').filter((stem) => !here.includes(stem) && !(stem in ELSEWHERE))).toEqual([]);
});
test.skipIf(!converted)('α and σ of a table of 1,000', () => {
  const alphaBar = alphasCumprod(betas('scaled_linear', { start: 0.00085, end: 0.012 }));
  const entries = [...converted!.tensor('alphas/t').data].map((t) => alphaBar[Math.min(999, Math.floor(1000 * t))]!);
  // FastGen takes the table in float32, whose ᾱ are off by 4.7e-6 at most.
  expect(deviation(entries.map(Math.sqrt), converted!.tensor('alphas/alpha').data)).toBeLessThan(4.7e-6);
});

test('log SNR and levels', () => {
  expect(levelOfLogSnr(logSnr(vpSde(), 0.3))).toBeCloseTo(levelAt(vpSde(), 0.3), 12);
});
