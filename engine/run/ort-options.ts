/** @file How sessions that train are set up. */
import type { InferenceSession } from 'onnxruntime-node';
import type { RuntimeOptions } from './runtime.ts';

/** `threads` inside one operation; 0 or none = all cores. */
export const sessionOptions = ({
  threads,
  provider = 'cpu',
}: Pick<RuntimeOptions, 'threads' | 'provider'>): InferenceSession.SessionOptions => ({
  ...(provider === 'cpu' ? {} : { executionProviders: [provider] }),
  graphOptimizationLevel: 'all',
  // A plan of all buffers ahead takes a third more memory for a training step, and no less time.
  enableMemPattern: false,
  logSeverityLevel: 3,
  ...(threads ? { intraOpNumThreads: threads } : {}),
});
