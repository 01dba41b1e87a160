/** @file What a training run is asked for, what it tells, and the card of the model that it makes. */
import type { Dataset, Split } from '../../data/dataset.ts';
import { InputError } from '../../engine/io/errors.ts';
import { mainPlayers, scalarsOf } from '../../engine/train/loss.ts';
import type { SampleType } from '../../engine/train/network.ts';
import type { StepReport } from '../../engine/train/trainer.ts';
import type { Best } from './best-checkpoint.ts';
import type { Model, ModelCard } from './model.ts';
import type { Plan } from './plan.ts';
import type { RunTexts } from './rows.ts';
import type { Scores } from './scores.ts';

/** What happens during a run, for whoever shows it. */
export type RunEvent =
  | { readonly kind: 'step'; readonly report: StepReport; readonly imagesPerSecond: number; readonly secondsLeft: number }
  | { readonly kind: 'samples'; readonly path: string; readonly step: number }
  | { readonly kind: 'scores'; readonly step: number; readonly scores: Scores }
  | { readonly kind: 'checkpoint'; readonly path: string; readonly step: number }
  | { readonly kind: 'note'; readonly text: string };

export interface RunRequest {
  readonly plan: Plan;
  readonly command: 'train' | 'distill';
  readonly folder: string;
  readonly split: Split;
  /** The teacher, for methods that start from one. */
  readonly teacher: Model | null;
  /** Whose network and weights the trained players start from instead of the teacher's. */
  readonly start?: Model | null;
  /** Samples are a teacher's own or latents, which are no bytes of `split`. */
  readonly onRows?: boolean;
  /** Texts that samples are conditioned on. */
  readonly texts?: RunTexts;
  /** How many prompts there are. */
  readonly prompts?: number;
  readonly resume: boolean;
  readonly signal?: AbortSignal;
  onEvent?(event: RunEvent): void;
}
export interface RunResult {
  readonly folder: string;
  readonly model: Model;
  readonly step: number;
  readonly seconds: number;
  /** False where the signal stopped it early. */
  readonly finished: boolean;
  /** The checkpoint with the smallest distance of those that were evaluated; null without evaluations. */
  readonly best: (Best & { readonly path: string }) | null;
}

/** Which players are kept in the end. */
export const keptPlayers = ({ plan, split, teacher }: Pick<RunRequest, 'plan' | 'split' | 'teacher'>): readonly string[] =>
  mainPlayers(plan.loss, plan.options, (teacher?.card.sample ?? sampleOf(split.train)).classes);

/** The type of a data set's samples. */
export const sampleOf = (data: Dataset): SampleType => ({
  shape: [data.channels, data.height, data.width],
  classes: data.labels ? (data.classes?.length ?? Math.max(...data.labels) + 1) : 0,
});

/** Card of the model that the run makes. */
export function cardOf(request: RunRequest, at: { readonly step: number; readonly nimg: number }): ModelCard {
  const { plan, split, teacher, start } = request;
  const { train } = split;
  const origin = (start ?? teacher)?.card;
  const base = teacher
    ? {
        network: origin!.network,
        networkOptions: origin!.networkOptions,
        sample: teacher.card.sample,
        schedule: teacher.card.schedule,
        teacher: teacher.source,
        ...pipelineOf(teacher.card),
      }
    : { network: plan.network!.name, networkOptions: plan.network!.options, sample: sampleOf(train), schedule: plan.schedule };
  const [player] = keptPlayers(request);
  const scalars = scalarsOf(plan.loss, player!);
  const experts = plan.loss.experts?.(plan.options, base.sample.classes).map(({ player: _, ...route }) => route);
  const form = plan.loss.form?.(plan.options);
  return {
    format: 1,
    ...base,
    ...(scalars.length > 0 ? { sample: { ...base.sample, scalars } } : {}),
    ...(form ? { form } : {}),
    ...(loraFor(plan) ?? {}),
    ...(experts ? { experts } : {}),
    ...(plan.loss.noise ? { noise: plan.loss.noise } : {}),
    levels: experts || player === 'student' ? levelsOf(plan.options) : null,
    method: plan.loss.name,
    data: plan.run.data,
    seed: plan.run.seed,
    step: at.step,
    nimg: at.nimg,
    average: plan.averages[0]?.name ?? null,
    licence: `trained on ${train.name} (${train.licence})`,
  };
}

/** What is trained instead of the weights themselves. */
export function loraFor({ run: { loraRank, loraAlpha, loraTargets } }: Plan): Pick<ModelCard, 'lora'> | null {
  return loraRank > 0 ? { lora: { rank: loraRank, alpha: loraAlpha || loraRank, targets: loraTargets } } : null;
}

/** The parts of the teacher's pipeline, which are the student's too. */
const pipelineOf = ({ image, text, parts }: ModelCard): Pick<ModelCard, 'image' | 'text' | 'parts'> => ({
  ...(image ? { image } : {}),
  ...(text ? { text } : {}),
  ...(parts ? { parts } : {}),
});

/** Levels at which a method calls its student, by the names that methods give them; null where it has none and needs a sampler. */
function levelsOf({ studentLevels, studentLevel }: Plan['options']): readonly number[] | null {
  if (Array.isArray(studentLevels)) return studentLevels as number[];
  return typeof studentLevel === 'number' ? [studentLevel] : null;
}

/** Errors: the teacher makes samples of another type than the data set holds, or than the model does from which the student starts. */
export function checkData({ split: { train }, teacher, start }: RunRequest): void {
  if (!teacher) return;
  const [made, started] = [teacher.card.sample, (start ?? teacher).card.sample];
  if (made.shape.join() !== started.shape.join() || made.classes !== started.classes)
    throw new InputError(
      `start: ${start!.source} makes [${started.shape}] with ${started.classes} classes, the teacher [${made.shape}] with ${made.classes}; give a model of the same samples`,
    );
  const { shape, classes } = teacher.card.sample;
  const own = sampleOf(train);
  if (own.shape.join() === shape.join() && own.classes === classes) return;
  throw new InputError(
    `distill: the data ${train.name} is [${own.shape}] with ${own.classes} classes, the teacher makes [${shape}] with ${classes}; use the data that the teacher was trained on`,
  );
}

/** The configuration as it is written into the run folder: with it the run can be made again. */
export const configOf = ({ plan, command, teacher, start }: RunRequest): Readonly<Record<string, unknown>> => ({
  command,
  method: plan.loss.name,
  ...(teacher ? { teacher: teacher.source } : {}),
  ...(start ? { start: start.source } : {}),
  ...(plan.network ? { network: plan.network.name } : {}),
  ...plan.flat,
});
