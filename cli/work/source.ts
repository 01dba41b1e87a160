/** @file What samples are drawn from: a model of ours or a finished student file; and the options of drawing. */
import { InputError } from '../../engine/io/errors.ts';
import type { Compute } from '../../engine/run/devices.ts';
import type { ConditionTable } from '../../engine/train/conditions.ts';
import type { SampleType } from '../../engine/train/network.ts';
import { choice, options, real, text, type Values, whole } from '../../engine/train/options.ts';
import type { SamplerFamily } from '../../engine/train/sampler.ts';
import { samplers } from '../../samplers/index.ts';
import { schedules } from '../../samplers/schedules.ts';
import { isStudentFolder } from '../../student/folder.ts';
import { type Flat, type Group, valuesOf } from '../config.ts';
import { deviceOption } from '../flags.ts';
import { deviceNamed } from './device.ts';
import { type Generator, type GeneratorOptions, openGenerator } from './generator.ts';
import { imageShape } from './latents.ts';
import { loadModel, type Model } from './model.ts';
import { textTable, withNegative } from './prompts.ts';
import type { SolverOptions } from './solver.ts';
import { openStudentFile } from './student-file.ts';
import { openStudentParts } from './student-folder.ts';

/** Options of whatever draws samples. */
export const drawingOptions = options({
  seed: whole(0, 'seed of the noise', { min: 0, max: 2 ** 31 - 1 }),
  sampler: choice(['auto', ...Object.keys(samplers)], 'auto', 'auto: student for a student, heun for a teacher'),
  schedule: choice(['auto', ...Object.keys(schedules)], 'auto', 'list of noise levels; auto: that of the model'),
  steps: whole(0, "steps of a teacher's sampler; 0 for 18", { min: 0, max: 100_000 }),
  clip: real(0, 'bound of what the network says at every step; 0 for none', { min: 0, max: 1000 }),
  negativePrompt: text('', 'text that guidance pushes away from, for models that take texts; none is the empty text'),
  guidance: real(1, 'scale of classifier-free guidance; 1 is none', { min: 0, max: 100 }),
  batch: whole(100, 'samples that are drawn at once', { min: 1 }),
  threads: whole(0, 'threads of ONNX Runtime; 0 for all cores', { min: 0, max: 256 }),
  device: deviceOption,
});
export type DrawingOptions = Values<typeof drawingOptions>;
export const drawing: Group<typeof drawingOptions> = { where: 'drawing', schema: drawingOptions };

/** Options of families under names led by `lead`, so that those of all are flags of one command. */
const groupsOf = (lead: string, families: Readonly<Record<string, Pick<SamplerFamily, 'name' | 'options'>>>): readonly Group[] =>
  Object.values(families).map(({ name, options: schema }) => ({
    where: `${lead} ${name}`,
    schema,
    rename: Object.fromEntries(Object.keys(schema.shape).map((option) => [option, `${lead}${option[0]!.toUpperCase()}${option.slice(1)}`])),
  }));
const [ofSamplers, ofSchedules] = [groupsOf('sampler', samplers), groupsOf('schedule', schedules)];
/** Options of the samplers, under names led by `sampler`, and of the schedules, led by `schedule`. */
export const samplerGroups: readonly Group[] = [...ofSamplers, ...ofSchedules];

/** What draws samples, and what is known of it. */
export interface Source {
  readonly name: string;
  /** Of a latent model that of its images. */
  readonly sample: SampleType;
  /** The features of texts that its samples are conditioned on; null where it takes none. */
  readonly texts: ((texts: readonly string[], onNote: (text: string) => void) => Promise<ConditionTable>) | null;
  /** Data set that it was trained on; empty where that is not known. */
  readonly data: string;
  readonly generator: Generator;
}

/**
 * Opens a run folder, a checkpoint, a weights file, a bundled model or a student's ONNX file for drawing.
 * @param flat values of `drawing` and of the samplers' own options
 * @throws InputError for whatever is wrong with the model, and for options that have no effect on it
 */
export async function openSource(spec: string, flat: Flat): Promise<Source> {
  const values = valuesOf(drawing, flat);
  if (spec.endsWith('.onnx') || (await isStudentFolder(spec))) return openFinished(spec, values, flat);
  const { batch, threads, guidance, clip } = values;
  const device = deviceNamed(values.device);
  const loaded = await loadModel(spec);
  const model = values.negativePrompt === '' ? loaded : await withNegative(loaded, values.negativePrompt, { threads, device });
  const name = values.sampler === 'auto' ? (model.card.levels ? 'student' : 'heun') : values.sampler;
  const chosen: GeneratorOptions = { ...solverOptions(name, flat), batch, threads, device, guidance, clip };
  const sample = { ...model.card.sample, shape: imageShape(model.card) };
  const texts = textsFor(model, { threads, device });
  return { name: spec, sample, texts, data: model.card.data, generator: openGenerator(model, chosen) };
}

/** How texts become conditions of a model. */
export const textsFor = (model: Model, compute: Compute): Source['texts'] =>
  model.card.text ? (texts, onNote) => textTable(model, texts, { ...compute, onNote }) : null;

async function openFinished(spec: string, { batch, threads, device: word }: DrawingOptions, flat: Flat): Promise<Source> {
  const fixed = [
    'sampler',
    'schedule',
    'steps',
    'guidance',
    'negativePrompt',
    'clip',
    ...Object.keys(flat).filter((name) => /^(sampler|schedule)[A-Z]/.test(name)),
  ];
  const idle = fixed.find((name) => flat[name] !== undefined);
  if (idle) throw new InputError(`${idle}: the finished student ${spec} has its levels inside; leave this option out`);
  const compute = { batch, threads, device: deviceNamed(word) };
  const parts = await openStudentParts(spec, compute);
  const opened = parts ?? { ...(await openStudentFile(spec, compute)), texts: null };
  const { sample, metadata, generator, texts } = opened;
  return { name: spec, sample, texts, data: metadata['data'] ?? '', generator };
}

/** The options that were given of a sampler or schedule; what is not given is left to it. Errors: an option of another one. */
function ownOptions(lead: 'sampler' | 'schedule', name: string, flat: Flat): Readonly<Record<string, unknown>> {
  const group = (lead === 'sampler' ? ofSamplers : ofSchedules).find(({ where }) => where === `${lead} ${name}`);
  const own = Object.values(group?.rename ?? {});
  const led = new RegExp(`^${lead}[A-Z]`);
  const foreign = Object.keys(flat).find((key) => led.test(key) && !own.includes(key));
  if (foreign && !group) throw new InputError(`${foreign}: no ${lead} is named; name the one that it belongs to with --${lead}`);
  if (foreign)
    throw new InputError(
      `${foreign}: the ${lead} ${name} has no such option; ${own.length > 0 ? `it has ${own.join(', ')}` : 'it has none'}`,
    );
  const given = Object.entries(group ? valuesOf(group, flat) : {});
  return Object.fromEntries(given.filter(([option]) => flat[group?.rename?.[option] ?? option] !== undefined));
}
/** What a sampler is asked for. Errors as in `ownOptions`. */
export function solverOptions(name: string, flat: Flat): SolverOptions {
  const { steps, schedule } = valuesOf(drawing, flat);
  return {
    sampler: name,
    samplerOptions: ownOptions('sampler', name, flat),
    scheduleOptions: ownOptions('schedule', schedule, flat),
    ...(schedule === 'auto' ? {} : { schedule }),
    ...(steps > 0 ? { steps } : {}),
  };
}
