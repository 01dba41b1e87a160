/**
 * @file Worker threads that stop at the end of a batch. To end a thread inside of a native call, such as a run of a network, would end the process
 * with it: what is to stop is told so first, and ended only where it does not listen.
 */
import { setMaxListeners } from 'node:events';
import { Piscina } from 'piscina';
import type { WorkerEntry } from '../engine/io/threads.ts';
import { type Answer, unwrapped } from './answer.ts';

/** Memory that threads share; not 0 once they should stop. */
export type StopFlag = Int32Array;

/** In the thread, between batches. @throws Error once it should stop */
export function checkStop(flag: StopFlag): void {
  if (Atomics.load(flag, 0) !== 0) throw new Error('stopped');
}

export interface ThreadsOptions {
  readonly threads: number;
  /** Gives way to whatever else runs, such as a training. */
  readonly low?: boolean;
  /** Milliseconds after which a thread without work ends. */
  readonly idle?: number;
  /** Milliseconds that a thread which should stop has for it. */
  readonly patience?: number;
}
/** Stops tasks together. */
export interface Stop {
  stop(): void;
}
export interface Threads {
  stopping(): Stop;
  /**
   * One task, in which `stop` is the flag.
   * @param name of the worker's function, which gives an `Answer`
   * @param moved memory of the task that goes over to the thread
   * @throws InputError for a mistake of the user; what ended the thread, which the next task starts again
   */
  run<Value>(name: string, task: object, stop: Stop, moved?: readonly ArrayBuffer[]): Promise<Value>;
  /** Stops whatever runs. */
  close(): Promise<void>;
}

/** What makes a thread give way, as `nice` counts. */
const NICE = 10;
const PATIENCE = 30_000;
const IDLE = 60_000;

/** Threads start as they are needed. */
export function openThreads({ url, execArgv }: WorkerEntry, options: ThreadsOptions): Threads {
  const { threads, low = false, idle = IDLE, patience = PATIENCE } = options;
  const pool = new Piscina<object, Answer<unknown>>({
    filename: url.href,
    execArgv,
    minThreads: 0,
    maxThreads: threads,
    idleTimeout: idle,
    niceIncrement: low ? NICE : 0,
  });
  const running = new Map<Promise<unknown>, Stop>();
  const parts = new WeakMap<Stop, { readonly flag: StopFlag; readonly signal: AbortSignal }>();
  return {
    stopping() {
      const flag = new Int32Array(new SharedArrayBuffer(4));
      const controller = new AbortController();
      setMaxListeners(0, controller.signal); // one a task
      const stop: Stop = {
        stop() {
          Atomics.store(flag, 0, 1);
          setTimeout(() => controller.abort(), patience).unref();
        },
      };
      parts.set(stop, { flag, signal: controller.signal });
      return stop;
    },
    async run<Value>(name: string, task: object, stop: Stop, moved: readonly ArrayBuffer[] = []) {
      const { flag, signal } = parts.get(stop)!;
      const answer = pool.run({ ...task, stop: flag }, { name, signal, transferList: [...moved] });
      running.set(answer, stop);
      try {
        return unwrapped((await answer) as Answer<Value>);
      } finally {
        running.delete(answer);
      }
    },
    async close() {
      for (const stop of running.values()) stop.stop();
      await Promise.allSettled(running.keys());
      await pool.destroy();
    },
  };
}
