/** @file How sessions that train are set up. */
import type { InferenceSession } from 'onnxruntime-node';
import type { RuntimeOptions } from './runtime.ts';

/** `threads` inside one operation; 0 or none = all cores. */
export const sessionOptions = ({
  threads,
  provider = 'cpu',
  keep = true,
}: Pick<RuntimeOptions, 'threads' | 'provider' | 'keep'>): InferenceSession.SessionOptions => ({
  ...(provider === 'cpu' ? {} : { executionProviders: [provider] }),
  graphOptimizationLevel: 'all',
  // A plan of all buffers ahead takes a third more memory for a training step, and no less time.
  enableMemPattern: false,
  ...(keep ? {} : { enableCpuMemArena: false }),
  logSeverityLevel: 3,
  ...(threads ? { intraOpNumThreads: threads } : {}),
});
