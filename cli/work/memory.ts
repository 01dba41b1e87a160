/** @file How much memory a training run takes at most, and what to do where the machine has less. */
import { freemem, totalmem } from 'node:os';
import { programBytes } from '../../engine/run/ort-memory.ts';
import type { Program } from '../../engine/run/runtime.ts';
import type { PhaseProgram } from '../../engine/train/program.ts';
import type { Plan } from './plan.ts';

/** What ONNX Runtime's arena takes beside the values in it, as a factor: gaps between values of different sizes. Measured, see docs/memory.md. */
const ARENA = 1.06;
/** Bytes that the first run of a session brings in: code that was not read before, and packed weights. Measured too. */
const FIRST_RUN = 25e6;

/** Whether sessions keep their memory between steps: not for who holds weights in fewer bits, who wants the least. */
export const keepsMemory = ({ frozenStorage }: Plan['run']): boolean => frozenStorage === 'float32';

export interface Memory {
  /** Resident now, with everything compiled. */
  readonly held: number;
  /** What values take while a step runs: those of all phases where sessions keep their memory between steps, else those of the largest. */
  readonly values: number;
  /** Second buffers of the training state, and the copy of it that a checkpoint is written from. */
  readonly state: number;
}
export const totalOf = ({ held, values, state }: Memory): number => held + values + state;

/**
 * @param stateBytes the training state, held once
 * @param keep whether sessions keep their memory between steps
 */
export async function memoryOf(
  phases: readonly PhaseProgram[],
  cuts: { readonly parts: number; readonly beside: number },
  stateBytes: number,
  keep = true,
): Promise<Memory> {
  const held = process.memoryUsage.rss();
  const bytesOf = async (program: Program): Promise<number> => (await programBytes(program)) * (keep ? ARENA : 1) + FIRST_RUN;
  const sizes: number[] = [];
  for (const { fused, part, apply } of phases) {
    if (cuts.parts > 1) sizes.push(cuts.beside * (await bytesOf(part)));
    sizes.push(await bytesOf(cuts.parts > 1 ? apply : fused));
  }
  const values = keep ? sizes.reduce((sum, bytes) => sum + bytes, 0) : Math.max(...sizes);
  return { held, values, state: 2 * stateBytes };
}

const megabytes = (bytes: number): number => Math.round(bytes / 1e6);

/** Whether a run fits the machine, in words; and what would help where it does not. */
export function verdict(bytes: number, { run }: Plan, mayHaveAdapters: boolean, machine = totalmem(), free = freemem()): string {
  const [needed, there] = [megabytes(bytes), megabytes(machine)];
  if (bytes <= Math.min(machine, free)) return `yes: about ${needed} MB of the ${there} MB of this machine`;
  if (bytes <= machine)
    return `only when other programs end: about ${needed} MB of the ${there} MB of this machine, ${megabytes(free)} MB of them free`;
  const remedies = [
    ...(run.recompute === 'off' ? ['keep fewer values with --recompute blocks'] : []),
    ...(run.batch > 1
      ? ['cut the batch into parts with --parts and --beside 1', `or take a smaller one with --batch ${Math.ceil(run.batch / 2)}`]
      : []),
    ...(mayHaveAdapters && run.loraRank === 0 ? ['train adapters instead of all weights with --lora-rank 16'] : []),
  ];
  return `no: about ${needed} MB, but this machine has ${there} MB; ${remedies.join('; ') || 'take a smaller network'}`;
}
