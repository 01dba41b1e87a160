/** @file How well models draw held-out captions: which share of pictures shows each attribute's value, by the judge, and how well they fit the captions. */
import { openGenerator } from '../../cli/work/generator.ts';
import type { Model } from '../../cli/work/model.ts';
import { textTable } from '../../cli/work/prompts.ts';
import type { Attribute } from '../../eval/avatars/captions.ts';
import { avatarScore, openAvatarEncoder } from '../../eval/avatars/encoder.ts';
import { type Drawings, NAMES } from './drawings.ts';
import type { Judge } from './judge.ts';

export interface Drawing {
  readonly guidance?: number;
  /** Steps of Heun's method, of a teacher. */
  readonly steps?: number;
  readonly seed: number;
  readonly threads: number;
}
/** Pictures [n,3,32,32] of captions, in −1…1; picture i depends on the seed, i and its caption alone. */
export async function drawCaptions(model: Model, captions: readonly string[], { steps, guidance, seed, threads }: Drawing) {
  const table = await textTable(model, captions, { threads });
  const generator = openGenerator(model, {
    ...(model.card.levels ? { sampler: 'student' } : { sampler: 'heun', ...(steps ? { steps } : {}) }),
    ...(guidance === undefined ? {} : { guidance }),
    ...{ batch: 50, threads },
  });
  try {
    const images = await generator.generate({ labels: null, conditions: table, n: captions.length, seed });
    return { images: images.map((v) => Math.min(1, Math.max(-1, v))), calls: generator.nfe };
  } finally {
    await generator.close();
  }
}

export interface Measured {
  /** Evaluations of the network for a picture; null for what no network drew. */
  readonly calls: number | null;
  readonly accuracy: Readonly<Record<Attribute, number>>;
  /** Mean over the attributes. */
  readonly mean: number;
  /** Caption score (avatar encoder). */
  readonly score: number;
}
export async function measure(
  judge: Judge,
  images: Float32Array,
  { values, captions }: Pick<Drawings, 'values' | 'captions'>,
  calls: number | null,
): Promise<Measured> {
  const accuracy = await judge.accuracy(images, values);
  const encoder = await openAvatarEncoder({ threads: 1 });
  const { value: score } = await avatarScore(encoder, await encoder.imageFeatures(images), captions);
  await encoder.close();
  return { calls, accuracy, mean: NAMES.reduce((sum, name) => sum + accuracy[name], 0) / NAMES.length, score };
}

/** The first of a set. */
export const firstOf = ({ images, values, captions }: Drawings, n: number): Drawings => ({
  n,
  images: images.subarray(0, (images.length / captions.length) * n),
  values: values.subarray(0, NAMES.length * n),
  captions: captions.slice(0, n),
});

/** Share of drawings that have the most frequent value of each attribute: what an answer without looking would reach. */
export function commonest({ values, n }: Drawings): Readonly<Record<Attribute, number>> {
  const share = (a: number): number => {
    const counts = new Map<number, number>();
    for (let i = 0; i < n; i++) counts.set(values[i * NAMES.length + a]!, (counts.get(values[i * NAMES.length + a]!) ?? 0) + 1);
    return Math.max(...counts.values()) / n;
  };
  return Object.fromEntries(NAMES.map((name, a) => [name, share(a)])) as Record<Attribute, number>;
}

/** A row for each attribute, a column for each thing measured. */
export function tableOf(columns: Readonly<Record<string, Pick<Measured, 'accuracy' | 'mean'> & Partial<Measured>>>): string {
  const entries = Object.entries(columns);
  const row = (first: string, cells: readonly string[]): string => `| ${[first, ...cells].join(' | ')} |`;
  const line = (first: string, cell: (m: (typeof entries)[number][1]) => string): string =>
    row(
      first,
      entries.map(([, m]) => cell(m)),
    );
  return [
    row(
      '',
      entries.map(([name]) => name),
    ),
    row(
      '---',
      entries.map(() => '---:'),
    ),
    line('calls of the network', ({ calls }) => (typeof calls === 'number' ? String(calls) : '')),
    ...NAMES.map((name) => line(name, ({ accuracy }) => accuracy[name].toFixed(3))),
    line('**mean**', ({ mean }) => `**${mean.toFixed(3)}**`),
    line('caption score', ({ score }) => (score === undefined ? '' : score.toFixed(1))),
  ].join('\n');
}
