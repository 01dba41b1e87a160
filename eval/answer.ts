/** @file What a worker thread answers: a message keeps no class of errors, so that mistakes of the user and ours go by different names. */
import { InputError } from '../engine/io/errors.ts';
import { errorCode } from '../engine/io/failures.ts';

/** A mistake of the user goes by its words, one of ours by its stack. */
export type Answer<T> = { readonly value: T } | { readonly mistake: string } | { readonly bug: string };

/** In the worker. */
export async function answering<T>(work: () => Promise<T>): Promise<Answer<T>> {
  try {
    return { value: await work() };
  } catch (error) {
    if (error instanceof InputError) return { mistake: error.message };
    return { bug: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}

/** On the side that asked. @throws InputError for a mistake of the user */
export function unwrapped<T>(answer: Answer<T>): T {
  if ('value' in answer) return answer.value;
  if ('mistake' in answer) throw new InputError(answer.mistake);
  throw new Error(`internal: a worker failed: ${answer.bug}`);
}

/** Why a worker ended; null for an error of another kind. */
export function endOf(error: unknown): string | null {
  if (errorCode(error) === 'ERR_WORKER_OUT_OF_MEMORY') return 'out of memory';
  const exit = error instanceof Error ? /^worker exited with code: (\S+)/.exec(error.message) : null;
  return exit ? `exit code ${exit[1]}` : null;
}
