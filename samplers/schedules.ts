/** @file Lists of levels to sample at, by name: how n levels lie between the lowest and the highest that a network knows. */
import { OptionError, options, real, resolve, whole } from '../engine/train/options.ts';
import { defineSchedule, type LevelRange, type ScheduleFamily } from '../engine/train/schedule.ts';
import { dynamicShift, flowTimes, unshiftTime } from './flow-times.ts';
import { karras as karrasLevels } from './karras.ts';
import { cosine as cosinePath, levelAt, levelOfLogSnr, type Path, rectifiedFlow, trigFlow, vpSde } from './paths.ts';
import { iddpm, linear, scaledLinear, sigmoid } from './tables.ts';

/** n falling numbers with even gaps; one alone is the first. */
const even = (n: number, from: number, to: number): readonly number[] =>
  Array.from({ length: n }, (_, i) => (n === 1 ? from : from + (i / (n - 1)) * (to - from)));
/** The levels of times, the first of which is exactly the highest level. */
const levelsOn = (path: Path, times: readonly number[], { sigmaMax }: LevelRange): readonly number[] =>
  times.map((t, i) => (i === 0 ? sigmaMax : levelAt(path, t)));

const karras = defineSchedule({
  name: 'karras',
  title: 'Even in σ^(1/ρ).',
  reference: '2206.00364',
  options: options({ rho: real(7, 'How far the levels crowd towards the low end', { min: 1, max: 100 }) }),
  levels: (n, { sigmaMin, sigmaMax }, { rho }) => karrasLevels({ sigmaMin, sigmaMax, rho }).levels(n),
});
const exponential = defineSchedule({
  name: 'exponential',
  title: 'Even in ln σ, which is half the logarithm of noise to signal.',
  reference: '2206.00364',
  options: options({}),
  levels: (n, { sigmaMin, sigmaMax }) =>
    even(n, -2 * Math.log(sigmaMax), -2 * Math.log(sigmaMin)).map((snr, i) => (i === 0 ? sigmaMax : levelOfLogSnr(snr))),
});
const vp = defineSchedule({
  name: 'vp',
  title: 'Even in the time of the variance-preserving SDE.',
  reference: '2011.13456',
  options: options({
    betaD: real(19.9, 'Growth of β over the whole time', { min: 0.1, max: 1000 }),
    betaMin: real(0.1, 'β at time 0', { min: 1e-4, max: 100 }),
  }),
  levels(n, range, betas) {
    const path = vpSde(betas);
    return levelsOn(path, even(n, path.time(range.sigmaMax), path.time(range.sigmaMin)), range);
  },
});
const cosine = defineSchedule({
  name: 'cosine',
  title: 'Even in the time of the cosine schedule, which may be shifted for larger pictures.',
  reference: '2301.11093',
  options: options({
    cosineShift: real(1, 'Side at which the schedule is not shifted over the side of the picture', { min: 0.01, max: 100 }),
  }),
  levels(n, range, { cosineShift }) {
    const path = cosinePath(cosineShift);
    return levelsOn(path, even(n, path.time(range.sigmaMax), path.time(range.sigmaMin)), range);
  },
});
const flow = defineSchedule({
  name: 'flow',
  title: 'Even in the time of a rectified flow before a shift towards noise.',
  reference: '2403.03206',
  options: options({
    shift: real(1, 'Shift of the time towards noise; 1 is none', { min: 0.01, max: 100 }),
    resolution: real(1, 'Side of the picture over the side that the shift is meant for; it multiplies the shift', { min: 0.01, max: 100 }),
    tokens: whole(0, 'Tokens of the picture for a shift that grows with them, as in FLUX; 0 takes the fixed shift', {
      min: 0,
      max: 1_000_000,
    }),
    terminal: real(0, 'Time to which the last one is stretched; 0 leaves it', { min: 0, max: 0.99 }),
  }),
  levels(n, range, { shift: fixed, resolution, tokens, terminal }) {
    if (tokens > 0 && fixed !== 1) throw new OptionError(`flow.tokens: ${tokens} makes the shift itself; leave shift ${fixed} out`);
    const [first, last] = [rectifiedFlow.time(range.sigmaMax), rectifiedFlow.time(range.sigmaMin)];
    if (terminal !== 0 && !(terminal > last && terminal < first))
      throw new OptionError(`flow.terminal: ${terminal} is not between the model's last time ${last} and its first ${first}`);
    const shift = (tokens > 0 ? dynamicShift(tokens) : fixed) * resolution;
    const times = flowTimes(n, { high: unshiftTime(first, shift), low: unshiftTime(last, shift), shift, terminal });
    return levelsOn(rectifiedFlow, times, range);
  },
});
const trigflow = defineSchedule({
  name: 'trigflow',
  title: 'Even in the angle of TrigFlow, from the highest level down to one step above 0.',
  reference: '2410.11081',
  options: options({ sigmaData: real(0.5, 'Standard deviation of the data', { min: 1e-3, max: 1000 }) }),
  levels(n, range, { sigmaData }) {
    const path = trigFlow(sigmaData);
    const top = path.time(range.sigmaMax);
    return levelsOn(path, even(n, top, Math.max(top / n, path.time(range.sigmaMin))), range);
  },
});

const ALL = [karras, exponential, vp, cosine, flow, trigflow, linear, scaledLinear, iddpm, sigmoid] as const;
/** Every schedule, by name. */
export const schedules: Readonly<Record<string, ScheduleFamily>> = Object.fromEntries(
  ALL.map((family) => [family.name, family as unknown as ScheduleFamily]),
);

/** n falling levels of a schedule by its name, with options checked and filled in. Errors: an unknown name or option, a value out of range. */
export function scheduleLevels(
  name: string,
  n: number,
  range: LevelRange,
  values: Readonly<Record<string, unknown>> = {},
): readonly number[] {
  const family = Object.hasOwn(schedules, name) ? schedules[name] : undefined;
  if (!family) throw new OptionError(`schedule: there is no ${name}; there are ${Object.keys(schedules).join(', ')}`);
  return family.levels(n, range, resolve(name, family.options, values));
}
