/** @file How a teacher is led from noise to a sample, as the options of drawing say. */
import { InputError } from '../../engine/io/errors.ts';
import { type Flat, valuesOf } from '../config.ts';
import { mayGuide } from './generator.ts';
import type { Model } from './model.ts';
import { type Solver, solverOf } from './solver.ts';
import { drawing, solverOptions } from './source.ts';

export interface TeacherSampling extends Solver {
  /** Scale of classifier-free guidance. */
  readonly guidance: number;
  /** Bound of the denoised sample at every step; 0 for none. */
  readonly clip: number;
}

/** Errors: a sampler that is not for teachers, options of another sampler or schedule, guidance without classes. */
export function teacherSampling(model: Model, flat: Flat): TeacherSampling {
  const { sampler: chosen, guidance, clip } = valuesOf(drawing, flat);
  if (chosen === 'student') throw new InputError(`sampler: student is not for teachers such as ${model.source}; choose another one`);
  if (guidance !== 1 && !mayGuide(model.card.sample))
    throw new InputError(`guidance: ${guidance} needs a teacher with classes or texts, which ${model.source} does not have; leave it out`);
  return { ...solverOf(model, solverOptions(chosen === 'auto' ? 'heun' : chosen, flat)), guidance, clip };
}
