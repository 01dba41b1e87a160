/** @file Reads rows of a comparison out of what evaluations say; whatever is missing or of another type is left out. */
import type { ClassRow, Interval, Row } from '../../eval/report/comparison.ts';
import type { Flat } from '../config.ts';

/** Metrics that stand beside `metrics`, or alone in older evaluations. */
const PLAIN = ['frechetHeldOut', 'frechetTraining', 'precision', 'recall', 'classAccuracy'] as const;
/** Settings that stand beside the numbers. */
const SETTINGS = ['samples', 'model', 'seed', 'sampler', 'steps', 'schedule', 'guidance', 'nfe', 'n', 'reference'] as const;

export const isFlat = (value: unknown): value is Flat => typeof value === 'object' && value !== null && !Array.isArray(value);
const numberOf = (value: unknown): number | null => (typeof value === 'number' && Number.isFinite(value) ? value : null);
const textOf = (value: unknown): string | null => (typeof value === 'string' ? value : null);

/** A number, or an object of a value and the ends of its interval. */
export function intervalOf(given: unknown): Interval | null {
  const value = numberOf(isFlat(given) ? given['value'] : given);
  if (value === null) return null;
  const [low, high] = isFlat(given) ? [numberOf(given['low']), numberOf(given['high'])] : [null, null];
  return { value, ...(low === null || high === null ? {} : { low, high }) };
}

/** The metrics of an evaluation. A distance that `metrics` holds already is not repeated under its older name. */
export function metricsOf(evaluation: Flat): Readonly<Record<string, Interval>> {
  const given = isFlat(evaluation['metrics']) ? Object.entries(evaluation['metrics']) : [];
  const found = given.flatMap(([name, value]): [string, Interval][] => {
    const interval = intervalOf(value);
    return interval ? [[name, interval]] : [];
  });
  const known = new Set(found.map(([, { value }]) => value));
  const plain = PLAIN.flatMap((name): [string, Interval][] => {
    const interval = intervalOf(evaluation[name]);
    const repeated = found.some(([other]) => other === name) || (name.startsWith('frechet') && interval && known.has(interval.value));
    return interval && !repeated ? [[name, interval]] : [];
  });
  return Object.fromEntries([...found, ...plain]);
}

function extractorOf(evaluation: Flat): Row['extractor'] {
  const { extractor } = evaluation;
  const name = isFlat(extractor) ? textOf(extractor['name']) : textOf(extractor);
  const inner = isFlat(extractor) ? (extractor['sha256'] ?? extractor['checksum']) : null;
  const sha256 = textOf(inner) ?? textOf(evaluation['extractorSha256']);
  return name === null && sha256 === null ? null : { name: name ?? 'unnamed extractor', sha256 };
}

/** By class: a list of objects, or an object of them by the class's name. */
function perClassOf(given: unknown): readonly ClassRow[] {
  const entries = Array.isArray(given)
    ? given.map((one: unknown, i) => [String(isFlat(one) ? (one['class'] ?? one['name'] ?? i) : i), one] as const)
    : Object.entries(isFlat(given) ? given : {});
  return entries.flatMap(([name, one]) => {
    const accuracy = intervalOf(isFlat(one) ? one['accuracy'] : one);
    const frechet = isFlat(one) ? intervalOf(one['frechet']) : null;
    return accuracy || frechet ? [{ name, accuracy, frechet }] : [];
  });
}

/** Settings of an evaluation: its own record, else the words that stand beside the numbers. */
export function settingsOf(evaluation: Flat): Flat {
  const { settings } = evaluation;
  const beside = Object.fromEntries(SETTINGS.flatMap((name) => (evaluation[name] === undefined ? [] : [[name, evaluation[name]]])));
  return isFlat(settings) ? { ...beside, ...settings } : beside;
}

/** What tells an evaluation from others of its model: sampler, steps and guidance. */
export function labelOf(evaluation: Flat): string {
  const settings = settingsOf(evaluation);
  const sampler = textOf(settings['sampler']);
  const [nfe, guidance] = [numberOf(settings['nfe']), numberOf(settings['guidance'])];
  const parts = [
    sampler === 'student' ? '' : (sampler ?? ''),
    nfe === null ? '' : `${nfe} NFE`,
    guidance === null || guidance === 1 ? '' : `guidance ${guidance}`,
  ];
  return parts.filter(Boolean).join(', ');
}

/** The row of an evaluation. @param name how it is called beside others, and the series that it belongs to */
export function rowOf(
  evaluation: Flat,
  { name, series, label = '' }: { readonly name: string; readonly series: string; readonly label?: string },
): Row {
  const settings = settingsOf(evaluation);
  const n: readonly unknown[] = Array.isArray(evaluation['n']) ? evaluation['n'] : [evaluation['n'] ?? evaluation['samples'], null];
  const pace = numberOf(evaluation['imagesPerSecond'] ?? settings['imagesPerSecond']);
  return {
    name,
    series,
    label,
    kind: 'model',
    metrics: metricsOf(evaluation),
    nfe: numberOf(evaluation['nfe'] ?? settings['nfe']),
    secondsPerImage: pace !== null && pace > 0 ? numberOf(1 / pace) : null,
    n: numberOf(n[0]),
    nReference: numberOf(n[1]),
    reference: textOf(evaluation['reference'] ?? settings['reference']),
    extractor: extractorOf(evaluation),
    perClass: perClassOf(evaluation['perClass']),
    command: textOf(evaluation['command']),
    settings,
  };
}

/** Rows to compare with that an evaluation brings: the distance between real images, and its teacher. */
export function referenceRows(evaluation: Flat): readonly Row[] {
  const base = rowOf(evaluation, { name: 'real images (floor)', series: 'real images' });
  const bare = { ...base, nfe: null, secondsPerImage: null, perClass: [], command: null, settings: {} };
  const { floor, teacher, references } = evaluation;
  const asMetrics = (given: unknown): Row['metrics'] => {
    const interval = intervalOf(given);
    if (interval) return { [base.metrics['frechetHeldOut'] ? 'frechetHeldOut' : 'frechet']: interval };
    return isFlat(given) ? metricsOf('metrics' in given ? given : { ...given, metrics: given }) : {};
  };
  const real = asMetrics(floor);
  const others: readonly unknown[] = [
    ...(isFlat(teacher) ? [{ name: 'teacher', ...teacher }] : []),
    ...(Array.isArray(references) ? (references as unknown[]) : []),
  ];
  return [
    ...(Object.keys(real).length > 0 ? [{ ...bare, kind: 'real' as const, metrics: real, n: null, nReference: null }] : []),
    ...others.flatMap((one): Row[] => {
      if (!isFlat(one)) return [];
      const name = textOf(one['name']) ?? 'reference';
      const own = rowOf({ n: evaluation['n'] ?? evaluation['samples'], ...one }, { name, series: name });
      if (Object.keys(own.metrics).length === 0) return [];
      return [{ ...own, kind: 'teacher', reference: own.reference ?? base.reference, extractor: own.extractor ?? base.extractor }];
    }),
  ];
}
