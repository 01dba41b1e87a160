/** @file Steps inside one ONNX Loop give the bits of single steps, over a step that is not finite, and with phases that take turns or see one state. */
import { expect, test } from 'vitest';
import { gaussianBatch, toySettings } from '../testing/toy.ts';
import { Trainer } from '../train/trainer.ts';
import { ortRuntime } from './ort.ts';

const STEPS = 12;
const BAD_STEP = 6;

async function curve(loop: boolean, together: number, bad: number | null) {
  const settings = { ...toySettings({ averages: ['constant:0.9'], clip: 1 }), together };
  const trainer = await Trainer.create(settings, ortRuntime({ threads: 1, loop }), {});
  const reports: unknown[] = [];
  await trainer.run({
    until: STEPS,
    batch: async (step) => {
      const batch = await gaussianBatch(8)(step);
      return step === bad ? { ...batch, images: batch.images.map(() => Number.NaN) } : batch;
    },
    pauses: () => false,
    onStep: (report) => void reports.push(report),
  });
  const snapshot = await trainer.snapshot();
  await trainer.close();
  return { reports, snapshot };
}

test.each([
  ['all steps in one go', 12, null],
  ['in several', 5, null],
  ['a step that is not finite in the middle', 5, BAD_STEP],
  ['at the start', 12, 0],
  ['at the end', 12, STEPS - 1],
])('%s', async (_, together, bad) => {
  const single = await curve(false, 1, bad);
  expect((single.snapshot as { skipped: number }).skipped).toBe(bad === null ? 0 : 1);
  expect(await curve(true, together, bad)).toEqual(single);
});
