/** @file What does not go together in a training run, found before anything is trained: one line that says what, and what would be right. */
import { join } from 'node:path';
import { packageRoot } from '../../data/artifacts.ts';
import { InputError } from '../../engine/io/errors.ts';
import { learnsFromPairs, scalarsOf } from '../../engine/train/loss.ts';
import { facts } from '../../engine/train/options.ts';
import { evaluatedAs } from '../../eval/evaluation.ts';
import { classifiedData } from '../../eval/features/shipped.ts';
import { nullName } from '../../models/foreign/diffusers/family.ts';
import { type Flat, readConfig } from '../config.ts';
import { kebab } from '../flags.ts';
import { mayGuide } from './generator.ts';
import { BUNDLED, type Model, networkNeeds } from './model.ts';
import type { Plan } from './plan.ts';
import type { RunRequest } from './run.ts';
import { trainedLevels } from './trained-levels.ts';

/** @throws InputError for the first thing that does not go together */
export async function checkTogether({ plan, teacher }: RunRequest): Promise<void> {
  checkPrecision(plan);
  checkStorage(plan);
  checkPairs(plan);
  checkEvaluations(plan);
  if (!teacher) return;
  checkClasses(plan, teacher);
  checkTold(plan, teacher);
  checkGuidance(plan, teacher);
  checkLevels(plan, teacher);
  await checkDenoiser(teacher);
}

function checkPrecision({ run: { precision, device } }: Plan): void {
  if (precision === 'bfloat16' && device === 'webgpu')
    throw new InputError('precision: WebGPU has no bfloat16; take float16, where the adapter has it, or float32');
  if (precision !== 'float32' && device === 'tfjs')
    throw new InputError(`precision: TensorFlow.js computes in float32 here; leave --precision out, or take another --device`);
}

function checkStorage({ run: { frozenStorage, device } }: Plan): void {
  if (frozenStorage === 'int8' && device === 'webgpu')
    throw new InputError('frozenStorage: WebGPU has no bytes; take float16, where the adapter has it, or float32');
  if (frozenStorage !== 'float32' && device === 'tfjs')
    throw new InputError('frozenStorage: TensorFlow.js holds float32 only; leave --frozen-storage out, or take another --device');
}

function checkPairs({ loss, run, options }: Plan): void {
  const learns = learnsFromPairs(loss, options);
  if (learns && !run.pairs)
    throw new InputError(`${loss.name}: learns from pairs; make them with onestep pairs and give the file with --pairs`);
  const ownMeaning = facts(loss.options).some(({ name }) => name === 'pairs');
  if (!learns && run.pairs && !ownMeaning)
    throw new InputError(`pairs: ${loss.name} does not learn from pairs with these settings; leave --pairs out`);
}

function checkEvaluations({ run: { data, evaluateEvery } }: Plan): void {
  if (evaluateEvery > 0 && !evaluatedAs(data))
    throw new InputError(
      `evaluateEvery: samples of ${data} cannot be measured, those of ${classifiedData.join(' and ')} can; leave --evaluate-every out`,
    );
}

/** Options of scales of guidance whose values are others than the method's own. */
const guidanceGiven = ({ loss, options }: Plan): readonly string[] =>
  facts(loss.options)
    .filter(({ name, type, initial }) => /guidance/i.test(name) && type === 'number' && options[name] !== initial)
    .map(({ name }) => name);

function checkClasses({ loss }: Plan, { card, source }: Model): void {
  if (loss.needsClasses && !mayGuide(card.sample))
    throw new InputError(
      `${loss.name}: learns how classes or texts guide the teacher, and ${source} has none; give a teacher that has, or take another method`,
    );
}

/** Methods that tell their networks a further number need one that listens. */
function checkTold({ loss }: Plan, { card, source }: Model): void {
  const scalars = [...new Set(Object.keys(loss.players).flatMap((player) => scalarsOf(loss, player)))];
  if (scalars.length === 0) return;
  const { form: _form, ...plain } = card;
  const names = [...networkNeeds({ ...plain, sample: { ...card.sample, scalars } })].map(({ name }) => name);
  const unheard = scalars.find((scalar) => !names.some((name) => name.includes(`told.${scalar}.`) || name === nullName(scalar)));
  if (unheard !== undefined)
    throw new InputError(
      `${loss.name}: tells the student the number ${unheard}, for which the network of ${source} has no input; take another method, such as dmd2`,
    );
}

/** Methods that guide by default do without where there are no classes; who asks for it is told. */
function checkGuidance(plan: Plan, { card, source }: Model): void {
  const [name] = mayGuide(card.sample) ? [] : guidanceGiven(plan);
  if (name !== undefined)
    throw new InputError(
      `${plan.loss.name}.${name}: guidance needs a teacher with classes or texts, which ${source} does not have; leave --${kebab(name)} out`,
    );
}

/** A student is called where its teacher can speak of what it says. */
function checkLevels({ loss, options }: Plan, { card, source }: Model): void {
  const { sigmaMax } = card.schedule;
  for (const name of ['studentLevel', 'studentLevels']) {
    const wrong = [options[name] ?? []].flat().find((level) => Number(level) > sigmaMax * (1 + 1e-6));
    if (wrong !== undefined)
      throw new InputError(`${loss.name}.${name}: ${wrong} is above ${sigmaMax}, the highest level that the teacher ${source} knows`);
  }
}

/** A student of single levels says nothing that a method could learn from at others. */
async function checkDenoiser(teacher: Model): Promise<void> {
  if (!teacher.card.levels) return;
  const trained = await trainedLevels(teacher);
  if (trained.kind === 'single')
    throw new InputError(
      `teacher: ${teacher.source} is a student of ${teacher.card.method}, which knows level ${trained.levels.join(', ')} alone; give a teacher, such as the one that it comes from${teacher.card.teacher ? ` (${teacher.card.teacher})` : ''}`,
    );
}

/** Configurations of the bundled teachers, which have no run folder. */
const CONFIGS: Readonly<Record<string, string>> = { 'digit-teacher': 'digits-teacher.json', 'fashion-teacher': 'fashion-teacher.json' };

/** What is known of a method in the precision that was asked for. Null where there is nothing. */
export function fragility({ plan: { loss, run } }: RunRequest): string | null {
  if (run.precision !== 'float16' || !loss.fragile) return null;
  return `${loss.name} is known to diverge in float16; bfloat16 and float32 are what its authors use`;
}

/** What a run will do without having been told not to: guidance of a teacher that never learnt to speak without a label. Null where there is nothing. */
export async function unheeded({ plan, teacher }: RunRequest): Promise<string | null> {
  if (!teacher || teacher.card.sample.classes === 0 || !guides(plan)) return null;
  const config = await configOf(teacher.source);
  if (config?.['labelDropout'] !== 0) return null;
  return `guidance asks ${teacher.source} without a label, which it was never trained for (--label-dropout 0): its answer means nothing`;
}

/** Whether the teacher is asked with a scale of guidance other than 1. */
const guides = ({ loss, options }: Plan): boolean =>
  'teacher' in loss.players &&
  facts(loss.options).some(({ name, type }) => /guidance/i.test(name) && type === 'number' && options[name] !== 1);

const configOf = (source: string): Promise<Flat | null> =>
  readConfig(Object.hasOwn(BUNDLED, source) ? join(packageRoot(), 'configs', CONFIGS[source] ?? '') : source).catch(() => null);
