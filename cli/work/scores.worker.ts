/** @file The worker thread of `evaluationOf`: a model in, its scores out. What it needs of the real images stays for the next one. */
import { type Answer, answering } from '../../eval/answer.ts';
import { once } from '../../eval/reference.ts';
import { checkStop, type StopFlag } from '../../eval/threads.ts';
import type { ModelEvaluation, ScoreRequest, Scores } from './scores.ts';
import { evaluationHere } from './scores-here.ts';

export interface ScoreTask extends ScoreRequest {
  readonly data: string;
}

/** By the data set; a run has one, and one flag. */
const open = new Map<string, () => Promise<ModelEvaluation>>();

export function score({ data, stop, ...request }: ScoreTask & { readonly stop: StopFlag }): Promise<Answer<Scores>> {
  if (!open.has(data))
    open.set(
      data,
      once(() => evaluationHere(data, () => checkStop(stop))),
    );
  return answering(async () => (await open.get(data)!()).run(request));
}
