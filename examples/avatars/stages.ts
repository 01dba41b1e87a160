/** @file The stages of the example, each of which leaves files by which the next go on. What is there already is not made again; trainings go on from their last checkpoint. */
import { spawn } from 'node:child_process';
import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeLora } from '../../cli/work/adapters.ts';
import { loadModel, type ModelCard, saveModel } from '../../cli/work/model.ts';
import { packageRoot } from '../../data/artifacts.ts';
import { writeAtomic } from '../../engine/io/atomic.ts';
import { InputError } from '../../engine/io/errors.ts';
import { fromFloat32, readSafetensors, toFloat32, writeSafetensors } from '../../engine/io/safetensors.ts';
import { latestCheckpoint } from '../../engine/train/checkpoint.ts';
import { isAdapter } from '../../models/adapters.ts';
import { trainAutoencoder } from './autoencoder.ts';
import { type Drawings, draw, floats, readDrawings, type Split, saveDrawings } from './drawings.ts';
import { readWeights, writePipeline, writeWeights, writeWithBytes } from './files.ts';
import { trainJudge } from './judge.ts';
import { encode, scaleOf } from './latents.ts';
import type { Settings, StudentSettings, Training } from './settings.ts';
import { atDusk, someOf } from './style.ts';
import { LATENT_SIZE, type Latents, trainTeacher } from './teacher.ts';

export interface Context {
  readonly settings: Settings;
  /** Folder of what is made on the way. */
  readonly out: string;
  /** Folders of what is kept: weights, and what was measured. */
  readonly artifacts: string;
  readonly results: string;
  readonly threads: number;
  readonly say: (line: string) => void;
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
export const places = ({ out }: Pick<Context, 'out'>) => ({
  drawings: join(out, 'drawings.safetensors'),
  judge: join(out, 'judge.safetensors'),
  encoder: join(out, 'encoder.safetensors'),
  autoencoder: join(out, 'autoencoder.safetensors'),
  latents: join(out, 'latents.safetensors'),
  weights: join(out, 'teacher.safetensors'),
  teacher: join(out, 'teacher'),
  prompts: join(out, 'prompts.txt'),
  style: join(out, 'style.safetensors'),
  stylePrompts: join(out, 'style-prompts.txt'),
  students: join(out, 'students'),
});
export const STYLED = 'dusk-one-step-dmd2';
export const studentsOf = ({ students, style }: Settings): Readonly<Record<string, StudentSettings>> => ({
  ...students,
  [STYLED]: style.student,
});

/** Makes a file where it is not there yet. */
async function once(path: string, { say }: Context, make: () => Promise<void>): Promise<void> {
  if (await exists(path)) return say(`${path} is there`);
  const begin = performance.now();
  await make();
  say(`${path} made in ${((performance.now() - begin) / 1000).toFixed(0)} s`);
}
/** How a training shows what it does and where it keeps its state. */
function progress(name: string, { steps }: Training, { say, out }: Context) {
  const every = Math.max(1, Math.min(250, steps >> 2));
  const folder = join(out, 'trainings', name);
  let [sum, count] = [0, 0];
  return {
    checkpoints: { folder, every },
    onLoss(step: number, loss: number): void {
      [sum, count] = [sum + loss, count + 1];
      if (step % every !== 0) return;
      say(`${name}: step ${step} of ${steps}, loss ${(sum / count).toFixed(4)}`);
      [sum, count] = [0, 0];
    },
  };
}

const split = (context: Context): Promise<Split> => readDrawings(places(context).drawings);

export const drawAll = (context: Context): Promise<void> =>
  once(places(context).drawings, context, async () => {
    await saveDrawings(places(context).drawings, await draw(context.settings.drawings, context.say));
  });

export const makeJudge = (context: Context): Promise<void> =>
  once(places(context).judge, context, async () => {
    const { settings, threads } = context;
    const { checkpoints, onLoss } = progress('judge', settings.judge, context);
    const { train } = await split(context);
    await writeWeights(places(context).judge, await trainJudge(train, { ...settings.judge, threads }, onLoss, checkpoints));
  });

export const makeAutoencoder = (context: Context): Promise<void> =>
  once(places(context).encoder, context, async () => {
    const { settings, threads } = context;
    const training = { ...settings.autoencoder, threads };
    const { train } = await split(context);
    await writeWeights(places(context).encoder, await trainAutoencoder(train, { training, ...progress('autoencoder', training, context) }));
  });

/** The decoder is trained further on latents that stay; nothing but pictures waits for it. */
export const makeDecoder = (context: Context): Promise<void> =>
  once(places(context).autoencoder, context, async () => {
    const { settings, threads } = context;
    const training = { ...settings.decoder, threads };
    const { train } = await split(context);
    const start = await readWeights(places(context).encoder);
    await writeWeights(
      places(context).autoencoder,
      await trainAutoencoder(train, { training, ...progress('decoder', training, context), start }),
    );
  });

const range = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => i);

/** All training drawings as latents, scaled to a deviation of one. */
export const makeLatents = (context: Context): Promise<void> =>
  once(places(context).latents, context, async () => {
    const { train } = await split(context);
    const values = await encodeAll(context, train);
    const scale = scaleOf(values);
    const stored = fromFloat32(
      values.map((v) => v * scale),
      [train.n, LATENT_SIZE],
    );
    await writeSafetensors(places(context).latents, { latents: stored }, { scale: String(scale) });
  });
async function encodeAll(context: Context, drawings: Drawings, recolour = (images: Float32Array): Float32Array => images) {
  const weights = await readWeights(places(context).encoder);
  return encode(weights, recolour(floats(drawings, range(drawings.n))), context.threads);
}
async function latentsOf(context: Context): Promise<Latents & { readonly scale: number }> {
  const { tensors, metadata } = await readSafetensors(places(context).latents);
  const { train } = await split(context);
  return { n: train.n, values: toFloat32(tensors.get('latents')!), captions: train.captions, scale: Number(metadata['scale']) };
}

/** The teacher, and the folder of diffusers that every command takes. */
export async function makeTeacher(context: Context): Promise<void> {
  const { weights, teacher, autoencoder } = places(context);
  const { settings, threads } = context;
  await once(weights, context, async () => {
    const training = { ...settings.teacher, threads };
    await writeWeights(
      weights,
      await trainTeacher(await latentsOf(context), { training, ...progress('teacher', settings.teacher, context) }),
    );
  });
  await once(join(teacher, 'model_index.json'), context, async () => {
    const { scale } = await latentsOf(context);
    await writePipeline(teacher, { teacher: await readWeights(weights), autoencoder: await readWeights(autoencoder), scale });
  });
}

const promptsOf = (path: string, context: Context, n: number): Promise<void> =>
  once(path, context, async () => {
    const { train } = await split(context);
    await writeFile(path, `${train.captions.slice(0, n).join('\n')}\n`);
  });

/** Runs a command of onestep as a user would. Errors: the command fails. */
async function onestep(words: readonly string[], { say }: Context): Promise<void> {
  say(`onestep ${words.join(' ')}`);
  const root = packageRoot();
  const program = ['--import', join(root, 'engine/io/source-loader.mjs'), join(root, 'cli/main.ts')];
  const child = spawn(process.execPath, [...program, ...words], { stdio: ['ignore', 'inherit', 'inherit'] });
  const code = await new Promise((resolve, reject) => child.once('error', reject).once('exit', resolve));
  if (code !== 0) throw new InputError(`avatars: onestep ${words[0]} ended with ${code}`);
}
const flagsOf = (flags: StudentSettings['flags']): readonly string[] =>
  Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);

async function distill(name: string, { method, flags }: StudentSettings, context: Context, more: readonly string[]): Promise<void> {
  const { students, teacher } = places(context);
  const folder = join(students, name);
  await once(join(folder, 'finished'), context, async () => {
    const { guidance } = context.settings;
    const resumed = (await latestCheckpoint(folder)) ? ['--resume'] : [];
    const common = { guidance, threads: context.threads, 'sample-every': 0, 'log-every': 50, out: folder };
    await onestep(['distill', method, '--teacher', teacher, ...more, ...flagsOf({ ...common, ...flags }), ...resumed], context);
    await writeFile(join(folder, 'finished'), '');
    await rm(join(folder, 'texts'), { recursive: true, force: true });
  });
}

export async function makeStudents(context: Context, only?: string): Promise<void> {
  const { settings } = context;
  const { prompts } = places(context);
  await promptsOf(prompts, context, settings.prompts);
  for (const [name, student] of Object.entries(settings.students))
    if (only === undefined || only === name) await distill(name, student, context, ['--prompts', prompts]);
}

/** Adapters of the teacher, learnt from a few hundred drawings in the style. */
export const makeStyle = (context: Context): Promise<void> =>
  once(places(context).style, context, async () => {
    const { settings, threads } = context;
    const { images, rank, targets, training } = settings.style;
    const { style, weights } = places(context);
    const { train } = await split(context);
    const { scale } = await latentsOf(context);
    const few = someOf(train, Math.min(images, train.n), 0);
    const values = (await encodeAll(context, few, atDusk)).map((v) => v * scale);
    const adapters = { rank, alpha: rank, targets };
    const tuned = await trainTeacher(
      { n: few.n, values, captions: few.captions },
      {
        training: { ...training, threads },
        ...progress('style', training, context),
        tuned: { teacher: await readWeights(weights), adapters },
      },
    );
    const own = [...tuned].filter(([name]) => isAdapter(name));
    await writeWeights(style, new Map(own), {
      lora_adapter_metadata: JSON.stringify({ 'unet.r': rank, 'unet.lora_alpha': rank, 'unet.peft_type': 'LORA' }),
    });
  });
/** The teacher with the style's adapters on it, distilled into adapters, from prompts alone. */
export async function makeStyledStudent(context: Context): Promise<void> {
  const { settings } = context;
  const { style, stylePrompts } = places(context);
  await promptsOf(stylePrompts, context, settings.style.images);
  await distill(STYLED, settings.style.student, context, ['--prompts', stylePrompts, '--teacher-lora', style]);
}

/** What the teacher is called in the cards of students. */
const PUBLISHED = 'artifacts/avatars';
/** Writes what is kept, in float16: the teacher's folder, and beside its parts the students, each one file. */
export async function publish(context: Context): Promise<void> {
  const { artifacts, settings } = context;
  const { weights, autoencoder, judge, style, students, teacher } = places(context);
  await mkdir(artifacts, { recursive: true });
  const { scale } = await latentsOf(context);
  await writePipeline(artifacts, { teacher: await readWeights(weights), autoencoder: await readWeights(autoencoder), scale }, 'F16');
  // Its largest matrix is most of it.
  await writeWithBytes(join(artifacts, 'judge.safetensors'), await readWeights(judge), 'hidden.weight');
  if (await exists(style)) {
    const { metadata } = await readSafetensors(style);
    await writeWeights(join(artifacts, 'dusk.safetensors'), await readWeights(style), metadata, 'F16');
  }
  for (const name of Object.keys(studentsOf(settings))) {
    if (!(await exists(join(students, name, 'finished')))) continue;
    const model = await loadModel(join(students, name));
    // Where it was made says nothing to others.
    const card = JSON.parse(JSON.stringify(model.card).replaceAll(JSON.stringify(teacher).slice(1, -1), PUBLISHED)) as ModelCard;
    const path = join(artifacts, `${name}.safetensors`);
    if (card.lora) await writeLora(path, model, 'peft', 'F16');
    else await saveModel(path, card, model.weights, 'F16');
  }
  await writeAtomic(join(artifacts, 'settings.json'), `${JSON.stringify(settings, null, 1)}\n`);
}
