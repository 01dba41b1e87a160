/** @file How far gradients of a network in lower precision are from those in float32. */
import '../../engine/graph/fluent.ts';
import { gradients } from '../../engine/graph/gradients.ts';
import { constant, input, state } from '../../engine/graph/ops/leaf.ts';
import { lowered, type Precision } from '../../engine/graph/precision.ts';
import type { Tensor } from '../../engine/graph/tensor.ts';
import { fillNormal, streamKey } from '../../engine/random/philox.ts';
import { ortRuntime } from '../../engine/run/ort.ts';
import { float32 } from '../../engine/run/runtime.ts';
import { resolve } from '../../engine/train/options.ts';
import { initialise, layoutOf, layoutSize, pack, packedScope, recordingScope } from '../../engine/train/weights.ts';
import { networkFamily } from '../index.ts';

/** Networks of every family, on pictures of [3,16,16] of three classes. */
export const NETWORKS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'song-unet': { channels: 16, multipliers: [1, 2], blocks: 1, attention: [8] },
  'dhariwal-unet': { channels: 16, multipliers: [1, 2], blocks: 1, attention: [8] },
  'edm2-unet': { channels: 16, multipliers: [1, 2], blocks: 1, attention: [8], headChannels: 16 },
  dit: { width: 32, depth: 2, heads: 2, patch: 2 },
  mlp: { width: 64, layers: 2 },
};
const SAMPLE = { shape: [3, 16, 16], classes: 3 };
const BATCH = 4;
const SCALE = 1024;
const level = (): Tensor => constant(Float32Array.of(0.3, 0.7, 2, 9), [BATCH, 1, 1, 1]);

const normal = (name: string, n: number, by = 1): Float32Array => {
  const data = new Float32Array(n);
  fillNormal(data, streamKey(7, 0, name), n);
  return data.map((v) => by * v);
};

export interface PrecisionError {
  /** Of the denoised sample, relative in the 2-norm. */
  readonly output: number;
  /** Of the gradient of the mean square error by all weights, relative in the 2-norm. */
  readonly gradient: number;
}

/** Errors of a network with weights moved from where they start, on one batch of noise. */
export async function precisionError(family: string, precision: Precision): Promise<PrecisionError> {
  const network = networkFamily(family);
  const options = resolve(family, network.options, NETWORKS[family]!);
  const inputs = () => ({
    x: input('x', [BATCH, ...SAMPLE.shape]),
    condition: { label: input('label', [BATCH, SAMPLE.classes]) },
  });
  const { scope, declared } = recordingScope('net');
  const given = inputs();
  network.build(scope, options, SAMPLE).denoise(given.x, level(), given.condition);
  const layout = layoutOf([...declared.values()]);
  const start = initialise([...declared.values()], 1, 'net');
  const moved = new Map(
    [...start].map(([name, w]) => {
      const by = normal(name, w.data.length, 0.05);
      return [name, { ...w, data: w.data.map((v, i) => v + by[i]!) }] as const;
    }),
  );
  const vector = state('net', [layoutSize(layout)]);
  const { x, condition } = inputs();
  const built = network.build(packedScope(vector, layout, moved, new Map()), options, SAMPLE);
  const denoised = built.denoise(x, level(), condition);
  // Scaled as a trainer scales it: small gradients vanish in float16 otherwise.
  const [scaled] = gradients(denoised.square().mean().mul(SCALE), [vector]) as [Tensor];
  const gradient = scaled.div(SCALE);
  const runtime = ortRuntime({ threads: 1 });
  const store = runtime.state({ net: float32(pack(layout, moved), [layoutSize(layout)]) });
  const feeds = {
    x: float32(normal('x', BATCH * 768, 0.9), [BATCH, ...SAMPLE.shape]),
    label: float32(
      Float32Array.from({ length: BATCH * 3 }, (_, i) => Number(i % 3 === Math.floor(i / 3) % 3)),
      [BATCH, 3],
    ),
  };
  const run = async (outputs: readonly Tensor[]): Promise<readonly Float32Array[]> => {
    const { program } = await runtime.compile({ program: { outputs: { d: outputs[0]!, g: outputs[1]! }, updates: new Map() } }, store);
    const found = await program!.run(feeds);
    await program!.close();
    return [found['d']!.data as Float32Array, found['g']!.data as Float32Array];
  };
  const [full, low] = [await run([denoised, gradient]), await run(lowered([denoised, gradient], precision))];
  const error = (k: number): number => {
    const norm = (values: Float32Array): number => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0));
    return norm(full[k]!.map((v, i) => v - low[k]![i]!)) / norm(full[k]!);
  };
  return { output: error(0), gradient: error(1) };
}
