/** @file One evaluation of a denoiser of real size, whose ONNX file and checkpoint bench/scale.ts made. */
import { join } from 'node:path';
import * as ort from 'onnxruntime-node';
import { fillNormal, streamKey } from '../../engine/random/philox.ts';
import { type Shared, writeExchange } from '../exchange.ts';
import type { Work } from './training.ts';

/** A round evaluates a batch of one. The peer finds what it is fed in `folder`, beside the checkpoint. */
export async function denoiserWork(threads: number, folder: string): Promise<Work> {
  const session = await ort.InferenceSession.create(join(folder, 'denoiser.onnx'), {
    graphOptimizationLevel: 'all',
    logSeverityLevel: 3,
    ...(threads ? { intraOpNumThreads: threads } : {}),
  });
  const fed: Record<string, Shared> = {};
  for (const value of session.inputMetadata) {
    const shape = value.isTensor ? value.shape.map(Number) : [];
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
    if (value.name === 'time') data.fill(500);
    else if (value.name === 'mask') data.fill(1);
    else fillNormal(data, streamKey(1, 0, `bench/${value.name}`), data.length);
    fed[value.name] = { shape, data };
  }
  await writeExchange(folder, fed);
  const feeds = Object.fromEntries(Object.entries(fed).map(([name, { shape, data }]) => [name, new ort.Tensor('float32', data, shape)]));
  return {
    facts: { inputs: Object.fromEntries(Object.entries(fed).map(([name, { shape }]) => [name, shape])) },
    async round() {
      const y = (await session.run(feeds))['y']!.data as Float32Array;
      return Array.from({ length: 64 }, (_, i) => y[Math.floor((i * y.length) / 64)]!);
    },
    close: () => session.release(),
  };
}
