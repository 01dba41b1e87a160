/** @file Which solver a model is sampled with, and at which levels: what was asked for, or what suits the model; and what makes no sense for it. */
import { InputError } from '../../engine/io/errors.ts';
import type { Sampler } from '../../engine/train/sampler.ts';
import { sampler as samplerByName, samplers } from '../../samplers/index.ts';
import { karras } from '../../samplers/karras.ts';
import { scheduleLevels } from '../../samplers/schedules.ts';
import type { Model, ModelCard } from './model.ts';

export interface SolverOptions {
  /** Sampler; default: `student` for a student, `heun` for a teacher. */
  readonly sampler?: string;
  readonly samplerOptions?: Readonly<Record<string, unknown>>;
  /** List of levels; default: the model's own, Karras'. */
  readonly schedule?: string;
  readonly scheduleOptions?: Readonly<Record<string, unknown>>;
  /** Steps where the model has no levels of its own; default 18. */
  readonly steps?: number;
}
export interface Solver {
  readonly name: string;
  readonly sampler: Sampler;
  /** Falling; the sampler appends 0. */
  readonly levels: readonly number[];
}

/** Samplers that take a student's own levels. */
const forStudents = (name: string): boolean => name === 'student' || samplers[name]?.only !== undefined;

/** Errors: a sampler for students on a teacher, or one for students of a method on another's. */
function checkUse({ card, source }: Pick<Model, 'card' | 'source'>, name: string): void {
  const only = samplers[name]?.only;
  if (only === undefined) return;
  if (!card.levels)
    throw new InputError(
      `sampler: ${name} takes what the network says for a sample, but ${source} is a teacher, which says a mean; choose another sampler, such as heun`,
    );
  if (only !== 'student' && card.method !== only)
    throw new InputError(
      `sampler: ${name} is for students of ${only}, but ${source} was distilled by ${card.method}; choose another sampler, such as student`,
    );
}

/** The levels of the model or of a schedule. Errors: a schedule or steps for a student whose levels are its own. */
function levelsOf(
  { card, source }: Pick<Model, 'card' | 'source'>,
  name: string,
  { schedule, scheduleOptions, steps }: SolverOptions,
): readonly number[] {
  const own = card.levels && forStudents(name) ? card.levels : null;
  // A student of CTM jumps between any two levels below its own.
  const free = own === null || samplers[name]?.only === 'ctm';
  const asked = schedule !== undefined ? 'schedule' : steps !== undefined ? 'steps' : null;
  if (asked && !free)
    throw new InputError(
      `${asked}: the student ${source} has levels of its own (${own.join(', ')}); leave --${asked} out, or choose a sampler with --sampler`,
    );
  if (own && !asked) return own;
  const range = rangeOf(card, own);
  return schedule === undefined ? karras(range).levels(steps ?? 18) : scheduleLevels(schedule, steps ?? 18, range, scheduleOptions);
}
const rangeOf = ({ schedule }: ModelCard, own: readonly number[] | null): ModelCard['schedule'] =>
  own ? { ...schedule, sigmaMax: own[0]! } : schedule;

/** The solver of a model. Errors: an unknown sampler or schedule, a wrong option, or one that makes no sense for the model. */
export function solverOf(model: Pick<Model, 'card' | 'source'>, options: SolverOptions): Solver {
  const name = options.sampler ?? (model.card.levels ? 'student' : 'heun');
  const noise = name === 'student' && model.card.noise ? { noise: model.card.noise } : {};
  const sampler = samplerByName(name, { ...noise, ...options.samplerOptions });
  checkUse(model, name);
  return { name, sampler, levels: levelsOf(model, name, options) };
}
