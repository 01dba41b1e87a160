/** @file Mixtures in the plane whose modes are to be found: a ring, and the dark squares of a board. Every coordinate has a standard deviation of about 0.5. */
import type { MixtureOptions } from '../../models/mixture.ts';

const equally = (means: readonly (readonly number[])[], std: number): MixtureOptions => ({
  weights: means.map(() => 1 / means.length),
  means,
  variances: means.map(() => std ** 2),
});

const RADIUS = 0.7; // (0.7²/2 + 0.1²)^½ = 0.505
/** Eight modes on a circle. */
export const ring = equally(
  Array.from({ length: 8 }, (_, k) => [RADIUS * Math.cos((k * Math.PI) / 4), RADIUS * Math.sin((k * Math.PI) / 4)]),
  0.1,
);

const SIDE = 0.438; // of a square; squares at ±½ and ±3/2 sides: (5/4 · 0.438² + 0.1²)^½ = 0.5
/** A mode on each of the eight dark squares of a board of four by four. */
export const checkerboard = equally(
  Array.from({ length: 16 }, (_, i) => [i % 4, Math.floor(i / 4)] as const)
    .filter(([column, row]) => (column + row) % 2 === 0)
    .map((square) => square.map((k) => (k - 1.5) * SIDE)),
  0.1,
);

/** The options with which DMD2 finds all modes of the ring in a few thousand steps. */
export const DMD2_IN_THE_PLANE = {
  ratio: 2,
  ganWeight: 0.3,
  discriminatorWeight: 1,
  ganNoise: 'shared',
  // Levels between the spread of a mode and the size of the whole decide how many samples each mode gets.
  criticLevels: 'matching',
  lowest: 0.2,
  highest: 0.7,
};
