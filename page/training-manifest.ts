/** @file What `training/training.json` says: the programs of a method, the state that they share, and which of them run on which step, fed with what. */
import type { StudentInputs } from '../student/feeds.ts';
import type { DrawSpec } from './draws.ts';

export interface TrainingManifest {
  readonly format: 1;
  readonly method: string;
  readonly seed: number;
  readonly batch: number;
  readonly programs: Readonly<Record<string, TrainingProgram>>;
  /** Runs of each step, in order. */
  readonly steps: readonly (readonly TrainingRun[])[];
  /** Whether the runs of one step all see the state from before it. */
  readonly simultaneous: boolean;
  /** One-dimensional states of float32: where their first values begin in the file `values`, in values, or null for zeros. */
  readonly state: Readonly<Record<string, { readonly size: number; readonly offset: number | null }>>;
  readonly values: string;
  /** The student as a program of the state `state`: noise and label in, image out. */
  readonly preview: StudentInputs & { readonly file: string; readonly state: string };
}
export interface TrainingProgram {
  readonly file: string;
  readonly draws: readonly DrawSpec[];
  /** States that it reads. */
  readonly reads: readonly string[];
  /** States that it writes, as outputs led by `next/`. */
  readonly writes: readonly string[];
  /** Names of its outputs, led by `value/`. */
  readonly terms: readonly string[];
  /** Names of the numbers that it is fed. */
  readonly scalars: readonly string[];
}
export interface TrainingRun {
  readonly program: string;
  /** In the order of the program's `scalars`. */
  readonly scalars: readonly number[];
}
