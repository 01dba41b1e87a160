/** @file Trains a toy on WebGPU and on the CPU and prints what came of it; a process of its own, which native code may end. */
import * as ort from 'onnxruntime-node';
import { toOnnx } from '../../graph/onnx.ts';
import { add } from '../../graph/ops/elementwise.ts';
import { input } from '../../graph/ops/leaf.ts';
import { ortRuntime } from '../../run/ort.ts';
import { webgpuRuntime } from '../../run/ort-webgpu.ts';
import type { Runtime } from '../../run/runtime.ts';
import { Trainer } from '../../train/trainer.ts';
import { gaussianBatch, toySettings } from '../toy.ts';

const STEPS = 12;

/** The data of this step is not a number, so that the step is skipped. */
const BAD_STEP = 6;

async function curve(runtime: Runtime, together: number, bad: boolean) {
  const settings = { ...toySettings({ averages: ['constant:0.9'], clip: 1 }), together };
  const trainer = await Trainer.create(settings, runtime, {});
  const reports: (readonly number[])[] = [];
  await trainer.run({
    until: STEPS,
    batch: async (step) => {
      const batch = await gaussianBatch(8)(step);
      return bad && step === BAD_STEP ? { ...batch, images: batch.images.map(() => Number.NaN) } : batch;
    },
    pauses: (step) => step === STEPS,
    onStep: ({ terms, skipped }) => void reports.push([terms['student/loss']!, terms['student/gradientNorm']!, skipped]),
  });
  const { vectors, updates } = await trainer.snapshot();
  await trainer.close();
  return { reports, updates, vectors: Object.fromEntries(Object.entries(vectors).map(([name, v]) => [name, [...v]])) };
}

/** Tensors on the device that exist: those that sessions gave less those that were freed. */
async function countTensors(): Promise<() => number> {
  let live = 0;
  const model = toOnnx({ y: add(input('x', [1]), 1) });
  const session = await ort.InferenceSession.create(model, { executionProviders: ['webgpu'] });
  const sessions = Object.getPrototypeOf(session) as { run: ort.InferenceSession['run'] };
  const run = sessions.run as (...args: readonly unknown[]) => Promise<ort.InferenceSession.ReturnType>;
  sessions.run = async function counted(this: unknown, ...args: readonly unknown[]) {
    const outputs = await run.apply(this, args as never);
    live += Object.values(outputs).filter(({ location }) => location === 'gpu-buffer').length;
    return outputs;
  } as ort.InferenceSession['run'];
  const dispose = ort.Tensor.prototype.dispose;
  ort.Tensor.prototype.dispose = function counted() {
    if (this.location === 'gpu-buffer') live -= 1;
    dispose.call(this);
  };
  return () => live;
}

async function memory(): Promise<{ readonly sizes: readonly number[]; readonly tensors: readonly number[] }> {
  const tensorsNow = await countTensors();
  const settings = { ...toySettings({ averages: ['constant:0.9'] }), together: 10 };
  const trainer = await Trainer.create(settings, webgpuRuntime(), {});
  const sizes: number[] = [];
  const tensors: number[] = [];
  await trainer.run({
    until: 1000,
    batch: gaussianBatch(8),
    pauses: (step) => step % 100 === 0,
    async onStep({ step }) {
      if (step % 100 !== 0) return;
      await trainer.snapshot();
      globalThis.gc?.();
      sizes.push(process.memoryUsage.rss());
      tensors.push(tensorsNow());
    },
  });
  await trainer.close();
  return { sizes, tensors };
}

const answer =
  process.argv[2] === 'memory'
    ? await memory()
    : {
        cpu: await curve(ortRuntime({ threads: 1 }), 1, true),
        single: await curve(webgpuRuntime(), 1, true),
        together: await curve(webgpuRuntime(), 5, true),
      };
process.stdout.write(`${JSON.stringify(answer)}\n`);
