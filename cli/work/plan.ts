/** @file What a training run is: its settings, checked and resolved from one flat configuration. */
import { availableParallelism } from 'node:os';
import { precisions } from '../../engine/graph/precision.ts';
import { InputError } from '../../engine/io/errors.ts';
import { type Average, parseAverage } from '../../engine/train/averages.ts';
import { frozenStorages } from '../../engine/train/frozen.ts';
import { arranged, type Loss } from '../../engine/train/loss.ts';
import { type OptimizerOptions, optimizerOptions } from '../../engine/train/optimizer.ts';
import { choice, facts, flag, options, real, text, texts, type Values, whole } from '../../engine/train/options.ts';
import { trainedOf } from '../../engine/train/program.ts';
import { rateFactor, rateOptions } from '../../engine/train/rates.ts';
import { networkFamily } from '../../models/index.ts';
import { karras, karrasOptions } from '../../samplers/karras.ts';
import type { Flat, Group } from '../config.ts';
import { checkNames, flatten, valuesOf } from '../config.ts';
import { deviceOption } from '../flags.ts';
import type { ModelCard } from './card.ts';
import { TEACHER_DATA, USUAL_TARGETS } from './teacher-words.ts';

export const runOptions = options({
  data: text(
    'digits',
    "data set: digits, fashion-mnist, mnist:FOLDER, cifar10:FOLDER or a folder of images; teacher for the teacher's own samples, which is the default where its data are not known",
  ),
  steps: whole(10000, 'optimizer steps', { min: 1 }),
  batch: whole(64, 'samples of a step', { min: 1 }),
  parts: whole(1, 'parts that a batch is cut into, to save memory; gradients are added up', { min: 1 }),
  beside: whole(
    0,
    'pieces of a batch that are computed side by side, each on threads of its own; 0 for as many as threads, at most 8, if they divide the batch',
    {
      min: 0,
      max: 64,
    },
  ),
  recompute: choice(
    ['off', 'blocks'],
    'off',
    'gradient checkpointing: blocks keeps values between the blocks of the networks alone and computes the others again in the backward pass, which takes less memory and about a third more time',
  ),
  lr: real(1e-3, 'learning rate', { min: 0 }),
  lrScale: texts([], 'factors of the learning rate for single players, such as fake=3,discriminator=3'),
  clip: real(1, 'largest norm of the gradient; 0 for no limit', { min: 0 }),
  averages: texts(
    ['constant:0.999'],
    'averages of the weights: constant:BETA, halflife:KIMG[:RAMP] or power:SIGMA_REL; the first one is evaluated and exported',
  ),
  seed: whole(0, 'seed of everything that is random', { min: 0, max: 2 ** 31 - 1 }),
  threads: whole(0, 'threads of ONNX Runtime; 0 for all cores', { min: 0, max: 256 }),
  device: deviceOption,
  precision: choice(
    precisions,
    'float32',
    'type of the products in networks; weights, norms, losses and updates are float32, and the loss is scaled for float16',
  ),
  frozenStorage: choice(
    frozenStorages,
    'float32',
    'how weights that are not trained are held: those of a teacher, and what adapters are added to; fewer bits take less memory and a little time',
  ),
  logEvery: whole(10, 'steps between lines of the log', { min: 1 }),
  sampleEvery: whole(500, 'steps between sample pictures; 0 for none', { min: 0 }),
  evaluateEvery: whole(0, 'steps between evaluations, which are made beside the training; 0 for none', { min: 0 }),
  evaluateSamples: whole(1000, 'samples of an evaluation', { min: 2 }),
  checkpointEvery: whole(500, 'steps between checkpoints', { min: 1 }),
  keep: whole(2, 'checkpoints that are kept', { min: 1 }),
  pairs: text('', "pairs of noise and the teacher's sample, made by onestep pairs, for methods that learn from them"),
  prompts: text('', 'file with a prompt a line, for a teacher that takes texts; without it, the captions of the images'),
  negativePrompt: text('', "text that the teacher's guidance pushes away from; none is the empty text"),
  textDropout: real(0, 'share of samples whose text is left out, so that the student can be guided', { min: 0, max: 1 }),
  teacherSamples: whole(256, 'samples of its own that the teacher draws to train on, with --data teacher', { min: 1 }),
  teacherSampleSteps: whole(18, 'steps in which it draws them', { min: 1, max: 1000 }),
  loraRank: whole(0, 'rank of adapters that are trained instead of the weights of student and fake score; 0 for the weights themselves', {
    min: 0,
    max: 4096,
  }),
  loraAlpha: real(0, 'the adapters are multiplied by this over the rank; 0 for the rank', { min: 0 }),
  loraTargets: texts(USUAL_TARGETS, 'modules that have an adapter, by their names or the ends of them; * stands for any characters'),
  teacherLora: texts(
    [],
    'files of adapters that the teacher is given first, such as style.safetensors, or style.safetensors@0.7 for a share of it',
  ),
  size: whole(0, 'side to which images of a folder are cropped and resized; 0 for the default', { min: 0 }),
  channels: whole(0, 'channels of images of a folder, 1 or 3; 0 for the default', { min: 0, max: 3 }),
  skipBad: flag(false, 'leave out images of a folder that cannot be read, and count them'),
});
export type RunOptions = Values<typeof runOptions>;

const headOptions = options({
  taps: texts(['bottleneck'], 'hidden maps of the fake network that the discriminator judges'),
});

const run: Group<typeof runOptions> = { where: 'run', schema: runOptions, rename: { channels: 'imageChannels', size: 'imageSize' } };
const optimizer: Group<typeof optimizerOptions> = { where: 'optimizer', schema: optimizerOptions, rename: { kind: 'optimizer' } };
const rate: Group<typeof rateOptions> = { where: 'rate', schema: rateOptions, rename: { kind: 'rate' } };
const schedule: Group<typeof karrasOptions> = { where: 'schedule', schema: karrasOptions };
const head: Group<typeof headOptions> = { where: 'discriminator', schema: headOptions };

/** The groups of options of a method; with the network's where one is trained from scratch. */
export function groupsOf(loss: Loss, network: string | null): Group[] {
  const groups: Group[] = [run as Group, { where: loss.name, schema: loss.options }, optimizer as Group, rate as Group];
  if ((loss.heads ?? []).length > 0) groups.push(head as Group);
  if (network) groups.push(schedule as Group, { where: network, schema: networkFamily(network).options });
  return groups;
}

/** Everything about a run except data and weights. */
export interface Plan {
  readonly loss: Loss;
  readonly run: RunOptions;
  readonly options: Readonly<Record<string, unknown>>;
  readonly optimizers: Readonly<Record<string, OptimizerOptions>>;
  readonly rates: Readonly<Record<string, (step: number) => number>>;
  readonly clip: Readonly<Record<string, number>>;
  readonly averages: readonly Average[];
  readonly schedule: Values<typeof karrasOptions>;
  readonly head: Values<typeof headOptions>;
  /** Name and options of the network, where the run trains one from scratch. */
  readonly network: { readonly name: string; readonly options: Readonly<Record<string, unknown>> } | null;
  /** The resolved configuration, as it is written into the run folder. */
  readonly flat: Flat;
}

/**
 * What a run is told of its teacher unless it is told otherwise: the standard deviation of the data by which the network scales its input, its lowest level
 * where a method is the identity there, levels that it knows, and that its own samples are the data where nobody knows what it was trained on.
 */
function fitting(loss: Loss, teacher: ModelCard | null): Flat {
  if (!teacher) return {};
  const own = facts(loss.options);
  const { sigmaData } = teacher.networkOptions;
  return {
    ...(typeof sigmaData === 'number' && own.some(({ name }) => name === 'sigmaData') ? { sigmaData } : {}),
    ...(own.some(({ name, initial }) => name === 'sigmaMin' && initial !== 0) ? { sigmaMin: teacher.schedule.sigmaMin } : {}),
    ...Object.fromEntries(
      own.flatMap(({ name, initial }) =>
        /^studentLevels?$/.test(name) ? fittingLevels(name, loss.recommended?.[name] ?? initial, teacher) : [],
      ),
    ),
    ...(teacher.data === '' ? { data: TEACHER_DATA } : {}),
  };
}
/** As many levels of the teacher's, where it does not know the usual ones. */
function fittingLevels(name: string, usual: unknown, { schedule }: ModelCard): readonly (readonly [string, unknown])[] {
  const levels = [usual].flat() as number[];
  if (!levels.some((level) => level > schedule.sigmaMax)) return [];
  if (!Array.isArray(usual)) return [[name, schedule.sigmaMax]];
  return [
    [
      name,
      karras(schedule)
        .levels(levels.length + 1)
        .slice(0, -1),
    ],
  ];
}

/**
 * Checks a flat configuration. @param teacher whose facts go before the defaults of the method
 * Errors: unknown names, values out of range, factors of players that do not exist.
 */
export function planOf(method: Loss, network: string | null, given: Flat, teacher: ModelCard | null = null): Plan {
  const groups = groupsOf(method, network);
  checkNames(method.name, groups, given);
  const flat = flatten(groups, { ...method.recommended, ...fitting(method, teacher), ...given });
  const methodOptions = valuesOf({ where: method.name, schema: method.options }, flat);
  const loss = arranged(method, methodOptions);
  const runValues = valuesOf(run, flat);
  cutsOf(loss, runValues);
  const players = trainedOf(loss);
  const scales = scalesOf(runValues.lrScale, players);
  const rateValues = valuesOf(rate, flat);
  const each = <T>(make: (player: string) => T): Record<string, T> => Object.fromEntries(players.map((player) => [player, make(player)]));
  return {
    loss,
    run: runValues,
    options: methodOptions,
    optimizers: each(() => valuesOf(optimizer, flat)),
    rates: each((player) => (step) => runValues.lr * (scales[player] ?? 1) * rateFactor(rateValues, step, runValues.steps)),
    clip: Object.fromEntries(Object.keys(loss.phases).map((phase) => [phase, runValues.clip])),
    averages: runValues.averages.map(parseAverage),
    // A teacher brings its own; methods have options of the same names.
    schedule: valuesOf(schedule, network ? flat : {}),
    head: valuesOf(head, flat),
    network: network ? { name: network, options: valuesOf({ where: network, schema: networkFamily(network).options }, flat) } : null,
    flat,
  };
}

/** Every session beside another has copies of weights and gradients and an arena of its own. */
const MOST_BESIDE = 8;

/** How a batch is cut. Errors: it does not divide evenly, or the method needs it whole. */
export function cutsOf(
  { name, coupled }: Loss,
  { batch, parts, beside, threads, device }: RunOptions,
): { readonly parts: number; readonly beside: number } {
  if (batch % parts !== 0) throw new InputError(`parts: a batch of ${batch} cannot be cut into ${parts} equal parts`);
  if (coupled && (parts > 1 || beside > 1))
    throw new InputError(`${name}: compares the samples of a batch with each other, so that it cannot be cut; leave out parts and beside`);
  if (coupled) return { parts: 1, beside: 1 };
  // Another device has one queue: side by side there is nothing to win.
  const wanted = beside || (device === 'cpu' ? Math.min(threads || availableParallelism(), MOST_BESIDE) : 1);
  if (batch % (parts * wanted) === 0) return { parts: parts * wanted, beside: wanted };
  if (beside > 0) throw new InputError(`beside: a batch of ${batch} in ${parts} parts cannot be cut into ${beside} equal pieces each`);
  return { parts, beside: 1 };
}

function scalesOf(words: readonly string[], players: readonly string[]): Record<string, number> {
  return Object.fromEntries(
    words.map((word) => {
      const [player = '', factor = ''] = word.split('=');
      if (!players.includes(player) || !(Number(factor) >= 0) || factor === '')
        throw new InputError(`lrScale: ${word} is not PLAYER=FACTOR with a player of ${players.join(', ')}`);
      return [player, Number(factor)] as const;
    }),
  );
}
