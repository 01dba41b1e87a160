/** @file A comparison for tests: two models, a teacher and real images, with everything that a page can show. */
import type { Comparison, Row } from '../comparison.ts';

/** A PNG of one grey pixel (PNG specification; zlib by hand: a stored block of two zero bytes). */
export const pixel = new Uint8Array(
  Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==', 'base64'),
);

export const row = (change: Partial<Row>): Row => ({
  name: 'a',
  series: 'a',
  label: '',
  kind: 'model',
  metrics: { frechet: { value: 2, low: 1.9, high: 2.1 }, classAccuracy: { value: 0.9 } },
  nfe: 1,
  secondsPerImage: 0.01,
  n: 5000,
  nReference: 10_000,
  reference: 'digits',
  extractor: { name: 'digit classifier', sha256: 'ab'.repeat(32) },
  perClass: [
    { name: '0', accuracy: { value: 0.9 }, frechet: { value: 3 } },
    { name: '1', accuracy: { value: 0.8 }, frechet: null },
  ],
  command: 'onestep evaluate a',
  settings: { seed: 0 },
  ...change,
});

const points = (start: number) => [1, 2, 3, 4].map((i) => ({ images: 1000 * i, seconds: 10 * i, value: start / i }));

export const comparison: Comparison = {
  title: 'Two students',
  summary: ['b is nearer.'],
  problems: ['runs/x: is no run folder'],
  rows: [
    row({}),
    row({ name: 'b', series: 'b', metrics: { frechet: { value: 1.5 }, classAccuracy: { value: 0.95 } }, nfe: 4, secondsPerImage: 0.04 }),
    row({
      name: 'teacher',
      series: 'teacher',
      kind: 'teacher',
      metrics: { frechet: { value: 1.2 } },
      nfe: 35,
      command: null,
      perClass: [],
    }),
    row({
      name: 'real images',
      series: 'real',
      kind: 'real',
      metrics: { frechet: { value: 0.5 } },
      nfe: null,
      n: null,
      nReference: null,
      perClass: [],
    }),
  ],
  runs: ['a', 'b'].map((name, i) => ({
    name,
    path: `runs/${name}`,
    notes: [],
    command: `onestep distill dmd2 --config runs/${name}`,
    settings: { lr: 0.001, optimizer: { betas: [0, 0.99] } },
    facts: { steps: '4 of 4' },
    scores: [{ name: 'frechetHeldOut', points: points(10 + i) }],
    terms: [{ name: 'student/loss', points: points(1 + i) }],
  })),
  samples: [{ title: 'a', png: pixel, alt: 'samples of a', note: 'not selected.' }],
  neighbours: [{ title: 'a', png: pixel, alt: 'neighbours of a' }],
  facts: { onestep: '0' },
};
