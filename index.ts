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

// Snapshots of NVlabs/edm and edm2, files of torch.save, the FID Inception and LPIPS.
export { openTorch, readTorch, type TorchFile } from './engine/io/torch.ts';
export { type EdmCheckpoint, loadEdm } from './models/foreign/edm-checkpoint.ts';
export { type InceptionOutputs, type InceptionTap, inception } from './models/foreign/inception.ts';
export { type LpipsDistance, type LpipsNet, lpips, lpipsFeatures, readLpipsWeights } from './models/foreign/lpips.ts';
export { forcedNormalisation } from './models/magnitude.ts';

// Networks, schedulers, folders and adapters of diffusers.
export {
  type LoadedAutoencoder,
  type LoadedNetwork,
  type LoadedPipeline,
  type LoadOptions,
  loadAutoencoder,
  loadNetwork,
  loadPipeline,
  loadScheduler,
} from './models/foreign/diffusers/folder.ts';
export { type DiffusersNetwork, diffusersNetwork, foreignDenoiser } from './models/foreign/diffusers/networks.ts';
export { fitted } from './models/foreign/diffusers/sampling.ts';
export { type ForeignSchedule, readScheduler } from './models/foreign/diffusers/schedulers.ts';
export { fuseLora, type Lora, loraScope, loraWeights, readLora } from './models/foreign/lora.ts';
// ONNX files as differentiable networks.
export { type OnnxDenoiser, type OnnxDenoiserOptions, onnxDenoiser } from './models/foreign/onnx/denoiser.ts';
export { type ImportedOnnx, type ImportOptions, importOnnx, importOnnxBytes, type Port } from './models/foreign/onnx/import.ts';
// Text encoders and image towers of others, from their configurations and under their own names.
export { type ClipConfig, clip, clipVision, readClip } from './models/foreign/clip.ts';
export { type ClipTextConfig, clipTextEncoder, readClipText, type TextEncoding, textLayout } from './models/foreign/clip-text.ts';
export { type Dinov2Config, dinov2, dinov2Names, readDinov2 } from './models/foreign/dinov2.ts';
export { openClipModel, readOpenClip } from './models/foreign/open-clip.ts';
export { readSiglip, type SiglipConfig, siglip } from './models/foreign/siglip.ts';
export { readT5, type T5Config, t5Encoder, t5Table } from './models/foreign/t5.ts';
export { readTextEncoder, type TextEncoderFolder } from './models/foreign/text-encoder.ts';
export { openTokenizer, type TextTokenizer, type TokenBatch, tokenBatch } from './models/foreign/tokenizer.ts';

// Data.
export { type BatchStream, openBatches } from './data/batches.ts';
export { toBytes, toFloat } from './data/bytes.ts';
export type { Dataset, Split } from './data/dataset.ts';
export { decodePicture, grid, type Picture, type PictureOptions } from './data/image.ts';
export { DATASET_SPECS, loadDataset } from './data/registry.ts';

// Images to measure: where they come from, and how they are resized.
export * as resize from './eval/resize/index.ts';
export {
  type Columns,
  type ImageSource,
  ofOneSize,
  openImages,
  planar,
  readCaptions,
  type SourceImage,
  type SourceOptions,
} from './eval/sources/index.ts';

// Metrics.
export { AVATAR_SCORE, avatarScore, openAvatarEncoder } from './eval/avatars/encoder.ts';
export { type Clip, type OpenClipOptions, openClip, type TextFeatures, type TextOptions } from './eval/clip/clip.ts';
export { type ImageTower, openImageTower } from './eval/clip/image-tower.ts';
export { type Preprocessing, pixelsOf } from './eval/clip/preprocess.ts';
export { CLIP_SCORES, type ClipScore, type ClipScoreName, clipScore, imageSimilarity, pairCosines } from './eval/clip/score.ts';
export { clipExtractor } from './eval/features/clip.ts';
export {
  type Evaluation,
  type EvaluationOptions,
  evaluateSamples,
  frechetName,
  type Generated,
  openEvaluation,
  type Scores,
} from './eval/evaluation.ts';
export { readFeatures, writeFeatures } from './eval/features/stored.ts';
export { writeStatistics } from './eval/features/statistics.ts';
export { frechetBetween, type Gaussian, gaussianOfFew, gaussianOfMoments } from './eval/gaussian.ts';
export { type Discrepancy, discrepancy, type Estimator, gaussianKernel, type Kernel, polynomial } from './eval/kernels.ts';
export { type Measurement, measure } from './eval/measure.ts';
export { type ExtractorIdentity, type FeatureSet, featureSet, type Measured, type Metric } from './eval/metric.ts';
export { frechetDistance, frechetFromFeatures } from './eval/metrics/frechet.ts';
export { inceptionScore } from './eval/metrics/inception-score.ts';
export { METRIC_NAMES, METRICS, metricsNamed } from './eval/metrics/index.ts';
export { kidOfAll, kidOfSubsets } from './eval/metrics/kid.ts';
export { randomDirections, slicedWasserstein, wassersteinPower } from './eval/metrics/sliced-wasserstein.ts';
export { vendiScore } from './eval/metrics/vendi.ts';
export { momentsFast, momentsStream } from './eval/moments-fast.ts';
export { type Manifold, manifoldOf, type PrecisionRecall, precisionRecall } from './eval/manifold/precision-recall.ts';
export { type Moments, moments, momentsAccumulator } from './eval/moments.ts';
export { type FeatureCache, openFeatureCache } from './eval/features/cache.ts';
export type { ExtractorFacts, ExtractorSpec, PictureExtractor } from './eval/features/extractor.ts';
export { EXTRACTOR_NAMES, findExtractor, type FindOptions } from './eval/features/find.ts';
export { type ExtractedSet, type ExtractOptions, type FeaturePool, openPool } from './eval/pool.ts';
export { memoryImages } from './eval/sources/memory.ts';

// Finished students.
export { loadStudent, type Student, type StudentOptions, type StudentRequest, type StudentSamples } from './student/student.ts';

// Whole runs, as the command line does them.
export { exportStudent, studentOnnx } from './cli/work/exporting.ts';
export { type Generator, type GeneratorOptions, openGenerator } from './cli/work/generator.ts';
export { allMethods, method, methodNames } from './cli/work/methods.ts';
export { loadModel, type Model, type ModelCard, saveModel } from './cli/work/model.ts';
export { type Plan, planOf } from './cli/work/plan.ts';
export { type RunEvent, type RunRequest, type RunResult, runTraining } from './cli/work/training.ts';

// Files and errors.
export { InputError } from './engine/io/errors.ts';
export { openSafetensors, readSafetensors, type SafetensorsFile, writeSafetensors } from './engine/io/safetensors.ts';
export { openShards, openWeightsFile } from './engine/io/safetensors-shards.ts';
export { fillNormal, fillUniform, streamKey } from './engine/random/philox.ts';
