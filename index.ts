/**
 * @file The package's entry: everything that a program needs to train, distil, sample, measure and export. It only re-exports.
 * Shapes, units and errors stand with each name.
 */
// biome-ignore-all assist/source/organizeImports: the groups go from graphs to whole runs.
import './engine/graph/fluent.ts';

// Graphs. `graph` holds every operation; what comes up in most programs stands beside it.
export * as graph from './engine/graph/index.ts';
export {
  constant,
  type DType,
  evaluate,
  gradients,
  input,
  jvp,
  type Shape,
  ShapeError,
  simplify,
  state,
  Tensor,
  toOnnx,
} from './engine/graph/index.ts';

// Running graphs.
export { loadModel as loadOnnx, ortFacts, ortRuntime } from './engine/run/ort.ts';
export {
  type Executable,
  type Feeds,
  float32,
  type HostTensor,
  int64,
  type Program,
  type Runtime,
  type RuntimeOptions,
  type State,
  scalar,
} from './engine/run/runtime.ts';

// Methods: what a loss, a network, a schedule and a sampler are, and how their options are declared.
export {
  type Draw,
  defineLoss,
  type Expert,
  type Form,
  type Loss,
  type Moment,
  type Pair,
  type Phase,
  type Scene,
  type Start,
} from './engine/train/loss.ts';
export {
  type Condition,
  type Denoiser,
  type Head,
  type Init,
  type Network,
  type NetworkFamily,
  networkOf,
  type Prediction,
  perSample,
  type SampleType,
  type Scope,
  within,
} from './engine/train/network.ts';
export {
  choice,
  flag,
  OptionError,
  type Options,
  options,
  real,
  reals,
  resolve,
  text,
  texts,
  type Values,
  whole,
  wholes,
} from './engine/train/options.ts';
export { type Carry, defineSampler, type Levels, type Place, type Sampler, type SamplerFamily } from './engine/train/sampler.ts';
export { defineSchedule, type LevelRange, type NoiseSchedule, type ScheduleFamily } from './engine/train/schedule.ts';

// Training.
export { type Average, parseAverage } from './engine/train/averages.ts';
export { type OptimizerOptions, optimizerOptions } from './engine/train/optimizer.ts';
export type { Cast, Stage } from './engine/train/program.ts';
export { rateFactor, rateOptions } from './engine/train/rates.ts';
export { type Batch, type RunOptions, type Snapshot, type StepReport, Trainer, type TrainerSettings } from './engine/train/trainer.ts';
export { constantScope, recordingScope, type Weight, type Weights } from './engine/train/weights.ts';

// Losses, and the terms that they share.
export { default as dmd } from './losses/dmd.ts';
export { default as dmd2 } from './losses/dmd2.ts';
export { default as edm } from './losses/edm.ts';
export * as terms from './losses/terms.ts';

// Samplers, noise schedules and guidance.
export { guided } from './samplers/guidance.ts';
export { sampler, samplers } from './samplers/index.ts';
export { type KarrasOptions, karras, karrasOptions, studentLevels } from './samplers/karras.ts';
export * as paths from './samplers/paths.ts';
export { scheduleLevels, schedules } from './samplers/schedules.ts';
export { unroll } from './samplers/unroll.ts';

// Networks, exact teachers, the layers of networks, and foreign parametrisations as denoisers.
export { discriminatorHead } from './models/discriminator.ts';
export { type EdmModel, edmModel } from './models/edm.ts';
export { type GaussianOptions, gaussian } from './models/gaussian.ts';
export { networkFamilies, networkFamily } from './models/index.ts';
export * as layers from './models/layers.ts';
export { type MixtureOptions, mixture } from './models/mixture.ts';
export * as preconditions from './models/precondition.ts';

// Data.
export { type BatchStream, openBatches } from './data/batches.ts';
export { toBytes, toFloat } from './data/bytes.ts';
export type { Dataset, Split } from './data/dataset.ts';
export { grid } from './data/image.ts';
export { DATASET_SPECS, loadDataset } from './data/registry.ts';

// Metrics.
export {
  type Evaluation,
  type EvaluationOptions,
  evaluateSamples,
  frechetName,
  type Generated,
  openEvaluation,
  type Scores,
} from './eval/evaluation.ts';
export { frechetDistance, frechetFromFeatures } from './eval/frechet.ts';
export { type Manifold, manifoldOf, type PrecisionRecall, precisionRecall } from './eval/manifold/precision-recall.ts';
export { type Moments, moments, momentsAccumulator } from './eval/moments.ts';
export { openPool } from './eval/pool.ts';

// Whole runs, as the command line does them.
export { exportStudent, studentOnnx } from './cli/work/exporting.ts';
export { type Generator, type GeneratorOptions, openGenerator } from './cli/work/generator.ts';
export { allMethods, method, methodNames } from './cli/work/methods.ts';
export { loadModel, type Model, type ModelCard, saveModel } from './cli/work/model.ts';
export { type Plan, planOf } from './cli/work/plan.ts';
export { type RunEvent, type RunRequest, type RunResult, runTraining } from './cli/work/training.ts';

// Files and errors.
export { InputError } from './engine/io/errors.ts';
export { readSafetensors, writeSafetensors } from './engine/io/safetensors.ts';
export { fillNormal, fillUniform, streamKey } from './engine/random/philox.ts';
