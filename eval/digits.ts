/** @file The evaluation of handwritten digits, the data set that comes with the package. */
import {
  type Evaluation,
  type EvaluationOptions,
  evaluateSamples,
  frechetName,
  type Generated,
  openEvaluation,
  type Scores,
} from './evaluation.ts';

export type DigitScores = Scores;
export type DigitEvaluation = Evaluation;

/** How the distance between sets of digits is called wherever it is shown. */
export const FRECHET_NAME = frechetName('digits');

/** `openEvaluation` against the digits. */
export const openDigitEvaluation = (options: EvaluationOptions = {}): Promise<DigitEvaluation> => openEvaluation('digits', options);

/** `evaluateSamples` against the digits. */
export const evaluateDigits = (generated: Generated, options: EvaluationOptions = {}): Promise<DigitScores> =>
  evaluateSamples('digits', generated, options);
