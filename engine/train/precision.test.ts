/** @file Training in lower precision: scales of the loss, curves beside float32, and runs that go on with the same bits. */
import { describe, expect, test } from 'vitest';
import { ortRuntime } from '../run/ort.ts';
import { gaussianBatch, toySettings } from '../testing/toy.ts';
import { firstScale, maySink, nextScale } from './loss-scale.ts';
import { type Snapshot, type StepReport, Trainer } from './trainer.ts';

describe('the scale of a loss', () => {
  test('is halved by every overflow down to 1, and doubled after 2000 updates', () => {
    let scale = firstScale;
    expect(scale.scale).toBe(65536);
    for (let i = 0; i < 20; i++) scale = nextScale(scale, false);
    expect([scale, maySink(scale)]).toEqual([{ scale: 1, good: 0 }, false]);
    for (let i = 0; i < 1999; i++) scale = nextScale(scale, true);
    expect(scale).toEqual({ scale: 1, good: 1999 });
    expect(nextScale(scale, true)).toEqual({ scale: 2, good: 0 });
    expect(nextScale({ scale: 1, good: 1999 }, false)).toEqual({ scale: 1, good: 0 });
  });
});

interface Asked {
  readonly precision: 'float32' | 'float16' | 'bfloat16';
  readonly steps?: number;
  readonly from?: Snapshot;
  readonly together?: number;
  /** Data so large that gradients overflow. */
  readonly huge?: boolean;
}
async function curve({ precision, steps = 40, from, together = 1, huge = false }: Asked) {
  const settings = { ...toySettings({ averages: ['constant:0.9'], clip: 1 }), precision, together };
  const trainer = await Trainer.create(settings, ortRuntime({ threads: 1, loop: together > 1 }), {});
  if (from) await trainer.restore(from);
  const reports: StepReport[] = [];
  await trainer.run({
    until: steps,
    batch: async (step) => {
      const batch = await gaussianBatch(8)(step);
      return huge ? { ...batch, images: batch.images.map((v) => 30 * v) } : batch;
    },
    pauses: () => false,
    onStep: (report) => void reports.push(report),
  });
  const snapshot = await trainer.snapshot();
  await trainer.close();
  return { reports, snapshot };
}
const losses = ({ reports }: { readonly reports: readonly StepReport[] }): number[] => reports.map(({ terms }) => terms['student/loss']!);

test.each([
  ['float16', 2e-3],
  ['bfloat16', 2e-2],
] as const)('%s goes the way of float32', async (precision, tolerance) => {
  const [low, full] = [await curve({ precision }), await curve({ precision: 'float32' })];
  const off = losses(low).map((v, i) => Math.abs(v / losses(full)[i]! - 1));
  expect(Math.max(...off)).toBeGreaterThan(1e-6);
  expect(Math.max(...off)).toBeLessThan(tolerance);
  expect(low.snapshot.skipped).toBe(0);
});

test('an overflow lowers the scale, and is no bad step', async () => {
  const { reports, snapshot } = await curve({ precision: 'float16', huge: true });
  const scales = reports.map(({ terms }) => terms['student/lossScale']!);
  expect(scales[0]).toBe(65536);
  const sunk = scales.filter((scale, i) => i > 0 && scale < scales[i - 1]!).length;
  expect(sunk).toBeGreaterThan(2);
  expect(snapshot.skipped).toBe(0);
  expect(snapshot.updates).toEqual({ student: 40 - sunk });
  expect(snapshot.scales).toEqual({ student: { scale: 65536 / 2 ** sunk, good: expect.any(Number) } });
});

test('a run that goes on has the bits of one that was never stopped, scales included', async () => {
  const whole = await curve({ precision: 'float16', huge: true });
  const { snapshot } = await curve({ precision: 'float16', huge: true, steps: 3 });
  const rest = await curve({ precision: 'float16', huge: true, from: snapshot });
  expect(rest.snapshot).toEqual(whole.snapshot);
  expect(rest.reports).toEqual(whole.reports.slice(3));
});

test('several steps in one go give the same', async () => {
  expect(await curve({ precision: 'float16', huge: true, together: 5 })).toEqual(await curve({ precision: 'float16', huge: true }));
});
