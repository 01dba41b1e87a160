/** @file What a step of every method costs beside one of DMD2, in turns with it. One record a method. */
import { methodNames } from '../cli/work/methods.ts';
import { median, round } from './measure.ts';
import { ours, type Side } from './process.ts';

const BASE = 'dmd2';
/** Rounds that are not counted: buffers are made. */
const WARMUP = 2;

interface Facts {
  readonly batch: number;
  readonly phases: readonly string[];
  /** Those that train the student. */
  readonly students: readonly string[];
  /** The phases, by their index, of each step. */
  readonly turns: readonly (readonly number[])[];
}
/** Milliseconds; null: there is no such update. */
export interface Cost {
  readonly student: number;
  readonly critic: number | null;
  /** The mean over steps. */
  readonly step: number;
}

/** What updates of the student and of all else cost, each over the steps on which there are some. `times` are those of the phases. */
export function costOf({ phases, students, turns }: Facts, times: readonly number[]): Cost {
  const total = (turn: readonly number[]): number => turn.reduce((sum, i) => sum + times[i]!, 0);
  const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  const over = (of: (i: number) => boolean): readonly number[] =>
    turns
      .map((turn) => turn.filter(of))
      .filter((turn) => turn.length > 0)
      .map(total);
  const own = (i: number): boolean => students.includes(phases[i]!);
  const critic = over((i) => !own(i));
  return { student: mean(over(own)), critic: critic.length > 0 ? mean(critic) : null, step: mean(turns.map(total)) };
}

interface Measured {
  readonly cost: Cost;
  readonly times: readonly number[];
  /** Megabytes. */
  readonly peak: number;
}
/** Sides run their rounds in turn; medians of each phase. */
async function inTurns(sides: readonly Side[], runs: number): Promise<Measured[]> {
  const rounds: number[][][] = sides.map(() => []);
  const peaks = sides.map(() => 0);
  for (let i = 0; i < WARMUP + runs; i++)
    for (const [k, side] of sides.entries()) {
      const { values, peak } = await side.round();
      rounds[k]!.push([...values]);
      peaks[k] = peak;
    }
  return sides.map(({ facts }, k) => {
    const counted = rounds[k]!.slice(WARMUP);
    const times = counted[0]!.map((_, phase) => median(counted.map((values) => values[phase]!)));
    return { cost: costOf(facts as unknown as Facts, times), times, peak: peaks[k]! };
  });
}

const relative = (own: number | null, base: number | null): number | null => (own === null || base === null ? null : round(own / base));

/** The record of one method, beside a side of DMD2 that is kept. Its own record has ratios of two processes that do the same. */
async function record(name: string, base: Side, { threads, runs }: { readonly threads: number; readonly runs: number }) {
  const side = await ours(`method:${name}`, threads, null);
  try {
    const [own, dmd2] = await inTurns([side, base], runs);
    const { batch, phases } = side.facts as unknown as Facts;
    const [a, b] = [own!, dmd2!];
    const rounded = (ms: number | null): number | null => (ms === null ? null : round(ms));
    return {
      name,
      unit: 'ms',
      student: rounded(a.cost.student),
      critic: rounded(a.cost.critic),
      step: rounded(a.cost.step),
      phases: Object.fromEntries(phases.map((phase, i) => [phase, round(a.times[i]!)])),
      peakMegabytes: Math.round(a.peak),
      [`relativeTo-${BASE}`]: {
        student: relative(a.cost.student, b.cost.student),
        critic: relative(a.cost.critic, b.cost.critic),
        step: relative(a.cost.step, b.cost.step),
        peak: relative(a.peak, b.peak),
      },
      batch,
      runs,
      threads: threads || 'all',
    };
  } finally {
    await side.close();
  }
}

/** The records of the named methods, or of all, as they come. Errors: a method that cannot be built says so in its record, and the others go on. */
export async function* methodRecords(
  settings: { readonly threads: number; readonly runs: number },
  only?: string,
): AsyncGenerator<Readonly<Record<string, unknown>>> {
  const base = await ours(`method:${BASE}`, settings.threads, null);
  try {
    for (const name of only === undefined ? await methodNames() : [only])
      yield await record(name, base, settings).catch((error: unknown) => ({ name, error: String(error) }));
  } finally {
    await base.close();
  }
}
