/** @file WebGPU on the software adapter: the same training as on the CPU, with the state on the device, in steps of their own or in one go. */
import { expect } from 'vitest';
import { adapterTest, answerOf } from '../testing/adapter.ts';

const script = new URL('../testing/webgpu/toy.ts', import.meta.url);
interface Curve {
  readonly reports: readonly (readonly [number | null, number | null, number])[];
  readonly updates: Readonly<Record<string, number>>;
  readonly vectors: Readonly<Record<string, readonly number[]>>;
}
/** Twelve float32 steps of Adam on weights of about 1. */
const CLOSE = 2e-6;

adapterTest('a run gives what the CPU gives, and the same bits step by step and in one go, over a step that is skipped', async () => {
  const { cpu, single, together } = await answerOf<Readonly<Record<'cpu' | 'single' | 'together', Curve>>>(script, ['curve']);
  expect(cpu.reports.map(([, , skipped]) => skipped)).toEqual([0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]);
  expect(cpu.reports[6]![0]).toBeNull(); // NaN, as JSON has it
  expect(cpu.updates).toEqual({ student: 11 });
  expect(together).toEqual(single);
  expect(single.updates).toEqual(cpu.updates);
  for (const [i, [loss, norm]] of cpu.reports.entries()) {
    if (loss === null) continue;
    expect(single.reports[i]![0]).toBeCloseTo(loss, 5);
    expect(single.reports[i]![1]).toBeCloseTo(norm!, 5);
  }
  expect(Object.keys(single.vectors)).toEqual(Object.keys(cpu.vectors));
  for (const [name, values] of Object.entries(cpu.vectors))
    expect(Math.max(...values.map((v, i) => Math.abs(v - single.vectors[name]![i]!))), name).toBeLessThan(CLOSE);
});

adapterTest('memory does not grow over a thousand steps', async () => {
  const { sizes, tensors } = await answerOf<Readonly<Record<'sizes' | 'tensors', readonly number[]>>>(script, ['memory']);
  expect(tensors).toEqual(Array<number>(10).fill(4)); // weights, two moments, one average
  expect(sizes.at(-1)! - sizes[1]!).toBeLessThan(40e6);
});

adapterTest('memory that runs out is told in one line, and the state is what it was', async () => {
  const { failure, after } = await answerOf<{
    readonly failure: { readonly name: string; readonly message: string } | null;
    readonly after: unknown;
  }>(new URL('../testing/webgpu/exhausted.ts', import.meta.url));
  expect(failure?.name).toBe('InputError');
  expect(failure?.message).toMatch(/^webgpu: the device failed while running large: [^\n]*; checkpoints are as they were: .*--device cpu$/);
  expect(after).toBe(5); // 2 + 3 by the program before
});
