/** @file Asks WebGPU for more memory than an adapter gives, in the middle of a run whose state is there; a process of its own. */
import '../../graph/fluent.ts';
import { input, state } from '../../graph/ops/leaf.ts';
import { expand } from '../../graph/ops/movement.ts';
import { webgpuRuntime } from '../../run/ort-webgpu.ts';
import { float32 } from '../../run/runtime.ts';

/** 4 GB of float32, more than one buffer holds. */
const SIDE = 2 ** 15;
const runtime = webgpuRuntime();
const kept = runtime.state({ w: float32(Float32Array.of(2), [1]) });
const w = state('w', [1]);
const x = input('x', [1]);
const large = expand(x.reshape([1, 1]), [SIDE, SIDE]);
const programs = await runtime.compile(
  {
    small: { outputs: { y: x.mul(w).reshape([]) }, updates: new Map([[w, w.add(x)]]) },
    large: { outputs: { y: large.mul(large.add(1)).exp().mean() }, updates: new Map([[w, w.add(x)]]) },
  },
  kept,
);
const feeds = { x: float32(Float32Array.of(3), [1]) };
await programs['small']!.run(feeds);
const failure = await programs['large']!.run(feeds).then(
  () => null,
  (error: Error) => ({ name: error.name, message: error.message }),
);
const after = await kept.read('w').then(
  ({ data }) => Number(data[0]),
  (error: Error) => error.message,
);
process.stdout.write(`${JSON.stringify({ failure, after })}\n`);
