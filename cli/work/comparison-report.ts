/** @file A comparison as JSON and as lines. */
import type { Flat } from '../config.ts';
import { short } from '../output.ts';
import type { Comparison } from './comparing.ts';
import type { Figure } from './measuring.ts';

/** Of a figure; numbers that are none become null. */
function figureJson({ value, low, high, label, better, details }: Figure): Flat {
  const finite = (number: number | null): number | null => (number !== null && Number.isFinite(number) ? number : null);
  return { value: finite(value), low: finite(low), high: finite(high), label, better, ...(details ? { details } : {}) };
}

const byId = (figures: readonly Figure[]): Flat => Object.fromEntries(figures.map((figure) => [figure.id, figureJson(figure)]));

/** What `onestep evaluate --json` prints. */
export function comparisonJson({
  figures,
  floor,
  n,
  drawn,
  reference,
  extractor,
  clip,
  lpips,
  settings,
  perClass,
  notes,
}: Comparison): Flat {
  return {
    kind: 'evaluation',
    ...drawn,
    reference,
    n,
    metrics: byId(figures),
    extractor,
    ...(clip ? { clip } : {}),
    ...(lpips ? { lpips } : {}),
    floor: floor && { metrics: byId(floor.figures), n: [floor.n, floor.n] },
    settings,
    ...(perClass ? { perClass } : {}),
    warnings: notes,
  };
}

/** A table of the figures, and what gave the features; what is to be said of them stands in `notes`. */
export function comparisonLines({ figures, floor, n, reference, extractor, clip, lpips }: Comparison, generated: string): string[] {
  const against = reference === null ? '' : ` against ${n[1] ?? 'an unknown number of'} samples of ${reference}`;
  return [
    `${n[0] ?? 'an unknown number of'} samples of ${generated}${against}`,
    ...table(figures, floor?.figures ?? []),
    ...(floor ? [`floor: one half of ${reference} against the other, ${floor.n} samples each`] : []),
    ...[extractor, clip, lpips].flatMap((of) => (of ? [featuresLine(of)] : [])),
  ];
}

function table(figures: readonly Figure[], floors: readonly Figure[]): readonly string[] {
  const rows = figures.map(({ id, label, value, low, high, better }) => {
    const range = low === null || high === null ? 'none' : `${short(low)} to ${short(high)}`;
    const floor = floors.find((one) => one.id === id);
    return [
      label,
      short(value),
      range,
      ...(floors.length > 0 ? [floor ? short(floor.value) : ''] : []),
      better ? `${better} is better` : '',
    ];
  });
  const all = [['metric', 'value', '95 % interval', ...(floors.length > 0 ? ['floor'] : []), ''], ...rows];
  const width = (column: number): number => Math.max(...all.map((row) => row[column]!.length));
  return all.map((row) =>
    row
      .map((word, i) => word.padEnd(width(i)))
      .join('  ')
      .trimEnd(),
  );
}

function featuresLine({ name, sha256, resize }: Flat): string {
  const parts = [
    sha256 === null ? 'of an unknown network' : `SHA-256 ${String(sha256)}`,
    ...(resize === null ? [] : [`resized by ${String(resize)}`]),
  ];
  return `features: ${String(name)}, ${parts.join(', ')}`;
}
