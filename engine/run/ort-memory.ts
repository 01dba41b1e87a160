/** @file What ONNX Runtime would hold while it runs a program. */
import * as ort from 'onnxruntime-node';
import { plannedBytes, withAllOutputs } from '../graph/onnx-memory.ts';
import { programFile } from './ort.ts';
import type { Program } from './runtime.ts';

/** Bytes of intermediate values at most. The program is compiled, so that all shapes are known, but not run. */
export async function programBytes(program: Program): Promise<number> {
  const { model } = await programFile(program);
  const session = await ort.InferenceSession.create(withAllOutputs(model), {
    graphOptimizationLevel: 'disabled',
    logSeverityLevel: 3,
    intraOpNumThreads: 1,
  });
  const values = session.outputMetadata.flatMap((m) => (m.isTensor ? [{ name: m.name, dtype: m.type, shape: m.shape }] : []));
  await session.release();
  return plannedBytes(model, values);
}
