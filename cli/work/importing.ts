/** @file Brings a teacher from elsewhere: a folder of weights and parts that every command takes, and what is said of it. */
import { copyFile, link, mkdir, readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { peakBytes } from '../../engine/graph/memory.ts';
import { input } from '../../engine/graph/ops/leaf.ts';
import { InputError } from '../../engine/io/errors.ts';
import { fileFailure } from '../../engine/io/failures.ts';
import { count, recordingScope } from '../../engine/train/weights.ts';
import { classNameOf } from '../../models/foreign/diffusers/networks.ts';
import { readScheduler } from '../../models/foreign/diffusers/schedulers.ts';
import { builderOf, conditionOf, MODEL_FILE, type Model, saveModel } from './model.ts';

/** Copies the parts of a model beside its new weights; as hard links where the disk can. What is there already stays. */
export async function copyParts({ card, folder }: Model, to: string): Promise<void> {
  for (const part of card.parts ?? []) await copyFolder(join(folder!, part), join(to, part));
}
async function copyFolder(from: string, to: string): Promise<void> {
  try {
    await mkdir(to, { recursive: true });
    for (const name of await readdir(from)) {
      // Caches of models hold links to files elsewhere, which would not lead there from here.
      const [source, target] = [await realpath(join(from, name)), join(to, name)];
      if ((await stat(source)).isDirectory()) await copyFolder(source, target);
      else if (!(await stat(target).catch(() => null))) await link(source, target).catch(() => copyFile(source, target));
    }
  } catch (error) {
    throw fileFailure('write', to, error);
  }
}

/** Writes a folder that every command takes as a teacher. Errors: one that holds a model already. */
export async function writeTeacher(folder: string, model: Model): Promise<void> {
  if (await stat(join(folder, MODEL_FILE)).catch(() => null))
    throw new InputError(`out: ${folder} holds a model already; choose another folder`);
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    throw fileFailure('write', folder, error);
  });
  await copyParts(model, folder);
  await saveModel(join(folder, MODEL_FILE), model.card, model.weights, 'stored');
}

/** What a model is. Memory is that of one evaluation of a batch of one, in float32. */
export interface TeacherFacts {
  readonly network: string;
  readonly predicts: string;
  readonly schedule: string;
  readonly parameters: number;
  readonly sample: readonly number[];
  readonly image?: readonly number[];
  readonly classes: number;
  readonly conditions: Readonly<Record<string, readonly number[]>>;
  readonly sigmaMin: number;
  readonly sigmaMax: number;
  readonly weightMegabytes: number;
  readonly activationMegabytes: number;
}
const megabytes = (bytes: number): number => Math.round(bytes / 1e4) / 100;

export function factsOf({ card, weights }: Model): TeacherFacts {
  const { sample, schedule, networkOptions: o } = card;
  const said = [...weights.values()].reduce((n, { shape }) => n + count(shape), 0);
  const condition = Object.fromEntries(
    Object.entries(conditionOf(sample)).map(([name, t]) => [name, input(name, [1, ...t.shape.slice(1)])]),
  );
  const denoised = builderOf(card)(recordingScope('teacher').scope).denoise(
    input('x', [1, ...sample.shape]),
    input('sigma', []),
    condition,
  );
  return {
    ...descriptionOf(card.network, o),
    parameters: said,
    sample: sample.shape,
    ...(card.image ? { image: card.image } : {}),
    classes: sample.classes,
    conditions: sample.conditions ?? {},
    sigmaMin: schedule.sigmaMin,
    sigmaMax: schedule.sigmaMax,
    weightMegabytes: megabytes(4 * said),
    activationMegabytes: megabytes(peakBytes([denoised])),
  };
}

function descriptionOf(family: string, o: Readonly<Record<string, unknown>>): Pick<TeacherFacts, 'network' | 'predicts' | 'schedule'> {
  if (family === 'diffusers') {
    const { className, prediction } = readScheduler('scheduler', JSON.parse(String(o['scheduler'])));
    return { network: classNameOf('config', JSON.parse(String(o['config']))), predicts: prediction, schedule: className };
  }
  if (family === 'onnx') {
    const { kind, schedule } = JSON.parse(String(o['denoiser'])) as { readonly kind: string; readonly schedule: string };
    return { network: 'ONNX', predicts: kind, schedule };
  }
  const said = (name: string, other: string): string => (typeof o[name] === 'string' ? o[name] : other);
  return { network: said('model', family), predicts: said('preconditioning', 'edm'), schedule: said('preconditioning', 'edm') };
}

/** The same in lines. */
export function linesOf(facts: TeacherFacts): readonly string[] {
  const by = (shape: readonly number[]): string => shape.join('×') || '1';
  const { image, classes, conditions } = facts;
  const told = [
    ...(classes > 0 ? [`label (${classes} classes)`] : []),
    ...Object.entries(conditions).map(([name, shape]) => `${name} [${shape}]`),
  ];
  return [
    `network: ${facts.network}, ${(facts.parameters / 1e6).toPrecision(4)} million parameters`,
    `samples: ${by(facts.sample)}${image ? `, latents of images ${by(image)}` : ''}`,
    `conditions: ${told.join(', ') || 'none'}`,
    `predicts: ${facts.predicts}, schedule ${facts.schedule}`,
    `noise levels: ${facts.sigmaMin.toPrecision(4)} to ${facts.sigmaMax.toPrecision(4)}`,
    `memory: ${facts.weightMegabytes} MB of weights, ${facts.activationMegabytes} MB of intermediate values for one sample`,
  ];
}
