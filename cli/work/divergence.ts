/** @file Tells when training goes wrong: each sign once, with what is likeliest to help. */
import type { StepReport } from '../../engine/train/trainer.ts';
import type { Plan } from './plan.ts';
import { asFlags, remediesFor } from './remedies.ts';

/** Norms of a phase's gradient that make the median, and the fewest that do. */
const WINDOW = 200;
const FEWEST = 50;
/** Times the median that a norm explodes at, and how many in a row it takes. */
const EXPLODED = 100;
const SUSTAINED = 10;
/** Times the best distance so far that is a sign. */
const WORSE = 2;
const NORM = '/gradientNorm';

export interface Watch {
  /** What the step shows for the first time, or null. */
  step(report: StepReport): string | null;
  /** The same of an evaluation; `best` is the smallest distance before it. */
  scored(step: number, distance: number, best: number | null): string | null;
}

/** @param skipped steps that were skipped before @param values how many numbers a sample has */
export function openWatch(plan: Plan, skipped: number, values: number): Watch {
  const told = new Set<string>();
  const once = (sign: string, step: number, what: string): string | null => {
    if (told.has(sign)) return null;
    told.add(sign);
    return `training may be going wrong at step ${step}: ${what}; likeliest to help: ${asFlags(remediesFor(plan, values))}`;
  };
  const norms = new Map<string, PhaseNorms>();
  return {
    step(report) {
      const bad =
        report.skipped > skipped ? once('skipped', report.step, 'a loss or gradient was not finite, and the step was skipped') : null;
      if (bad !== null) return bad;
      for (const [term, norm] of Object.entries(report.terms)) {
        if (!term.endsWith(NORM)) continue;
        if (!norms.has(term)) norms.set(term, { usual: [], exploded: 0 });
        const ratio = explosion(norms.get(term)!, norm);
        const phase = term.slice(0, -NORM.length);
        if (ratio !== null)
          return once(
            'gradient',
            report.step,
            `the gradient of ${phase} is ${ratio.toPrecision(2)} times its median, ${SUSTAINED} steps in a row`,
          );
      }
      return null;
    },
    scored: (step, distance, best) =>
      best !== null && !(distance <= WORSE * best)
        ? once('distance', step, `the distance ${short(distance)} is more than ${WORSE} times the best so far, ${short(best)}`)
        : null,
  };
}
const short = (v: number): string => String(Number(v.toPrecision(4)));

/** What is known of a phase's norms: the last usual ones, and how many in a row exploded. */
interface PhaseNorms {
  readonly usual: number[];
  exploded: number;
}

/** How many times its median a norm is, once that many have exploded in a row; else null. Those that explode are left out of the median. */
function explosion(phase: PhaseNorms, norm: number): number | null {
  const { usual } = phase;
  // 0 where there is no median yet, and where a phase has had nothing to learn so far.
  const median = usual.length < FEWEST ? 0 : usual.toSorted((a, b) => a - b)[usual.length >> 1]!;
  if (!(median > 0 && norm > EXPLODED * median)) {
    phase.exploded = 0;
    if (Number.isFinite(norm) && usual.push(norm) > WINDOW) usual.shift();
    return null;
  }
  phase.exploded += 1;
  return phase.exploded >= SUSTAINED ? norm / median : null;
}
