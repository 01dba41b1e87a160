/** @file The worker thread of `openPool`: opens networks by their spec, and computes the features of shards. */
import { move, transferableSymbol, valueSymbol } from 'piscina';
import { type Answer, answering } from './answer.ts';
import type { ExtractorFacts, ExtractorSpec, PictureExtractor } from './features/extractor.ts';
import { openExtractor } from './features/registry.ts';
import { checkStop, type StopFlag } from './threads.ts';
import { extractShard, type ShardFeatures, type ShardTask } from './pipeline/extract.ts';

export interface ExtractTask extends ShardTask {
  readonly spec: ExtractorSpec;
}
/** The facts, and how many pictures a task should have. */
export type Described = ExtractorFacts & { readonly shard: number };

/** The network that was asked for last: another one takes its memory. */
const open: { key: string; extractor: Promise<PictureExtractor> } = { key: '', extractor: Promise.reject(new Error('none')) };
open.extractor.catch(() => {});

async function opened(spec: ExtractorSpec): Promise<PictureExtractor> {
  const key = JSON.stringify(spec);
  if (open.key !== key) {
    await open.extractor.then(
      (extractor) => extractor.close(),
      () => {},
    );
    open.key = key;
    open.extractor = openExtractor(spec);
    open.extractor.catch(() => {
      open.key = '';
    });
  }
  return open.extractor;
}

export const describe = ({ spec }: Pick<ExtractTask, 'spec'>): Promise<Answer<Described>> =>
  answering(async () => {
    const { name, checksum, dimensions, classes, resize, note, shard } = await opened(spec);
    return { name, checksum, dimensions, classes, resize, ...(note === undefined ? {} : { note }), shard };
  });

/** The memory of the result goes over to whoever asked. */
export async function extract({ spec, stop, ...task }: ExtractTask & { readonly stop: StopFlag }): Promise<unknown> {
  const answer = await answering<ShardFeatures>(async () => {
    checkStop(stop);
    return extractShard(task, await opened(spec), () => checkStop(stop));
  });
  if (!('value' in answer)) return answer;
  const { features, logits } = answer.value;
  return move({ [valueSymbol]: answer, [transferableSymbol]: [features.buffer, ...(logits ? [logits.buffer] : [])] });
}
