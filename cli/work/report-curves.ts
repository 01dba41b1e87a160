/** @file The curves of a run out of its log: terms of the losses and evaluations on the way, each with images seen and seconds. */
import type { LogLine, StepLine } from '../../engine/train/logs.ts';
import type { Curve, CurvePoint } from '../../eval/report/comparison.ts';

export interface RunCurves {
  readonly scores: readonly Curve[];
  readonly terms: readonly Curve[];
}
/** Where a run is after a step. */
type At = Pick<StepLine, 'step' | 'nimg' | 'seconds'>;

const isStep = (line: LogLine): line is StepLine =>
  'terms' in line &&
  [line.nimg, line.seconds].every((value) => Number.isFinite(value)) &&
  typeof line.terms === 'object' &&
  line.terms !== null;
const numbersOf = (values: unknown): readonly (readonly [string, number])[] =>
  typeof values === 'object' && values !== null
    ? Object.entries(values).filter((entry): entry is [string, number] => typeof entry[1] === 'number' && Number.isFinite(entry[1]))
    : [];

/** Norms of gradients are left out. Lines that are no lines of a log are too. */
export function curvesOf(log: readonly LogLine[]): RunCurves {
  const steps = log.filter(isStep);
  const scores = new Map<string, CurvePoint[]>();
  const terms = new Map<string, CurvePoint[]>();
  const add = (curves: Map<string, CurvePoint[]>, name: string, point: CurvePoint): void => {
    const points = curves.get(name);
    if (points) points.push(point);
    else curves.set(name, [point]);
  };
  const place = placing(steps);
  for (const line of log) {
    if (isStep(line)) {
      const { nimg: images, seconds } = line;
      for (const [name, value] of numbersOf(line.terms)) if (!name.endsWith('gradientNorm')) add(terms, name, { images, seconds, value });
    } else if ('scores' in line) {
      const at = place(line.step);
      if (at) for (const [name, value] of numbersOf(line.scores)) add(scores, name, { ...at, value });
    }
  }
  const curves = (found: ReadonlyMap<string, CurvePoint[]>): Curve[] => [...found].map(([name, points]) => ({ name, points }));
  return { scores: curves(scores), terms: curves(terms) };
}

/** Images and seconds at a step, which need not be a logged one: linear between those that are, in proportion outside. */
function placing(steps: readonly At[]): (step: number) => { readonly images: number; readonly seconds: number } | null {
  const start: At = { step: 0, nimg: 0, seconds: 0 };
  const known = [start, ...steps];
  let from = 0; // evaluations come in the order of their steps, nearly always
  return (step) => {
    if (known.length < 2 || !(step >= 0)) return null;
    if (known[from]!.step > step) from = 0;
    while (from < known.length - 2 && known[from + 1]!.step <= step) from++;
    const [a, b] = [known[from]!, known[from + 1]!];
    const share = b.step > a.step ? (step - a.step) / (b.step - a.step) : 1;
    return { images: a.nimg + share * (b.nimg - a.nimg), seconds: a.seconds + share * (b.seconds - a.seconds) };
  };
}

/** The last step of a log. */
export function lastStep(log: readonly LogLine[]): StepLine | null {
  return log.findLast(isStep) ?? null;
}
