/**
 * @file Evaluations of a run, made beside its steps: one at a time, of the weights as they were. One that was not finished when a run ended is owed:
 * its checkpoint is kept until then, and a run that goes on makes it out of that.
 */
import { type CheckpointPlace, listCheckpoints } from '../../engine/train/checkpoint.ts';
import { readLog } from '../../engine/train/logs.ts';
import { endOf } from '../../eval/answer.ts';
import { computeOf } from './device.ts';
import type { Model } from './model.ts';
import type { RunOptions } from './plan.ts';
import { evaluationOf, type ModelEvaluation, type Scores } from './scores.ts';

export interface Scored {
  readonly step: number;
  /** Whether there is a checkpoint of the step. */
  readonly kept: boolean;
  /** What went wrong in the thread, where the scores are null. */
  readonly ended: string | null;
  readonly scores: Scores | null;
}
export interface Scoring {
  /** The evaluation that was started and whose scores were not taken yet. */
  readonly pending: Pick<Scored, 'step' | 'kept'> | null;
  /** Starts an evaluation; none may be pending. The weights may change once this returns. */
  start(of: Pick<Scored, 'step' | 'kept'>, model: Model): Promise<void>;
  /** Takes the scores, if they are there. Errors: those of the evaluation. */
  arrived(): Scored | null;
  /** Waits for the scores and takes them; null where nothing is pending, or where the signal comes first. Errors: those of the evaluation. */
  settled(signal?: AbortSignal): Promise<Scored | null>;
  /** Whatever is pending ends. */
  close(): Promise<void>;
}

/** What is due at a step: every so many steps, and at the last. */
export const due = (every: number, step: number, { steps }: Pick<RunOptions, 'steps'>): boolean =>
  every > 0 && (step % every === 0 || step === steps);

/** Checkpoints up to a step that should have been evaluated, and of which the log says nothing. */
export async function owedBy(folder: string, run: RunOptions, last: number): Promise<readonly CheckpointPlace[]> {
  if (run.evaluateEvery === 0) return [];
  const made = new Set((await readLog(folder)).flatMap((line) => ('scores' in line ? [line.step] : [])));
  return (await listCheckpoints(folder)).filter(({ step }) => step <= last && due(run.evaluateEvery, step, run) && !made.has(step));
}

type Outcome = { readonly scored: Scored } | { readonly error: unknown };

export function openScoring(run: RunOptions): Scoring {
  const { data, evaluateSamples, seed } = run;
  let evaluation: ModelEvaluation | null = null;
  let pending: { readonly of: Pick<Scored, 'step' | 'kept'>; readonly end: Promise<void> } | null = null;
  let outcome: Outcome | null = null;
  const arrived = (): Scored | null => {
    if (!outcome) return null;
    const found = outcome;
    [pending, outcome] = [null, null];
    if ('error' in found) throw found.error;
    return found.scored;
  };
  return {
    get pending() {
      return pending?.of ?? null;
    },
    async start(of, model) {
      evaluation ??= await evaluationOf(data);
      if (pending || !evaluation) throw new Error(`internal: no evaluation can start at step ${of.step}`);
      const request = { model, n: evaluateSamples, seed, ...computeOf(run) };
      const ready = (await evaluation.prepare?.(request)) ?? request;
      const end = evaluation.run(ready).then(
        (scores) => {
          outcome = { scored: { ...of, ended: null, scores } };
        },
        (error: unknown) => {
          const ended = endOf(error);
          outcome = ended === null ? { error } : { scored: { ...of, ended, scores: null } };
        },
      );
      pending = { of, end };
    },
    arrived,
    async settled(signal) {
      if (!pending) return null;
      await Promise.race([pending.end, ...(signal ? [whenAborted(signal)] : [])]);
      return arrived();
    },
    close: async () => evaluation?.close(),
  };
}

const whenAborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
