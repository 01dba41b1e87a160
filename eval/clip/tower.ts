/** @file One tower of frozen weights, compiled once for batches of any size and run by ONNX Runtime. */
import { toOnnx } from '../../engine/graph/onnx.ts';
import { fixed, type Tensor } from '../../engine/graph/tensor.ts';
import { loadModel, ortRuntime } from '../../engine/run/ort.ts';
import { type Executable, type Feeds, float32 } from '../../engine/run/runtime.ts';
import type { Scope } from '../../engine/train/network.ts';
import { InputError } from '../../engine/io/errors.ts';
import { checkWeights, constantScope, recordingScope, type Weights } from '../../engine/train/weights.ts';

export interface Tower {
  /** Features per sample. */
  readonly dimensions: number;
  /** [n, dimensions] for feeds of n samples. */
  run(feeds: Feeds): Promise<Float32Array>;
  close(): Promise<void>;
}
/** Features [N,d] from named inputs with a symbolic batch. */
export type TowerGraph = (scope: Scope) => Tensor;

/** Files of this format end at 2 GiB. Weights of more are fed beside the graph, which costs the rearrangement that constants get. */
const MAX_CONSTANT_BYTES = 1.8e9;
const OUTPUT = 'features';

/** Names and shapes that a graph asks for, to be compared with what a file holds before any of it is read. */
export function declaredBy(graph: TowerGraph): ReadonlyMap<string, { readonly name: string; readonly shape: readonly number[] }> {
  const { scope, declared } = recordingScope('tower');
  graph(scope);
  return declared;
}

/** Features per sample, from the graph alone. */
export const dimensionsOf = (graph: TowerGraph): number => fixed('tower', graph(recordingScope('tower').scope).shape[1]);

async function compile(graph: TowerGraph, weights: Weights, threads: number, maxBytes: number): Promise<readonly [Tensor, Executable]> {
  const bytes = [...weights.values()].reduce((sum, { data }) => sum + data.byteLength, 0);
  if (bytes <= maxBytes) {
    const features = graph(constantScope(weights));
    // Not simplified first: ONNX Runtime folds the weights' transposes in a second, where the exact interpreter takes many.
    return [features, await loadModel(toOnnx({ [OUTPUT]: features }, { target: 'cpu' }), { threads })];
  }
  const { scope } = recordingScope('tower');
  const features = graph(scope);
  const runtime = ortRuntime({ threads });
  const state = runtime.state(Object.fromEntries([...weights].map(([name, { shape, data }]) => [`tower/${name}`, float32(data, shape)])));
  const { tower } = await runtime.compile({ tower: { outputs: { [OUTPUT]: features }, updates: new Map() } }, state);
  return [features, tower!];
}

/**
 * @param where the file of the weights, for messages
 * @throws InputError where weights are missing, superfluous or of another shape
 */
export async function openTower(
  where: string,
  graph: TowerGraph,
  weights: Weights,
  threads: number,
  maxConstantBytes = MAX_CONSTANT_BYTES,
): Promise<Tower> {
  const { scope, declared } = recordingScope('tower');
  graph(scope);
  checkWeights(where, declared.values(), weights);
  const [features, model] = await compile(graph, weights, threads, maxConstantBytes);
  return {
    dimensions: fixed('tower', features.shape[1]),
    run: async (feeds) => (await model.run(feeds))[OUTPUT]!.data as Float32Array,
    close: () => model.close(),
  };
}

/** Runs n samples in batches of `size`; `feed` gives the inputs of rows [from, to). → [n, dimensions] */
export async function inBatches(tower: Tower, n: number, size: number, feed: (from: number, to: number) => Feeds): Promise<Float32Array> {
  const out = new Float32Array(n * tower.dimensions);
  for (let from = 0; from < n; from += size) out.set(await tower.run(feed(from, Math.min(from + size, n))), from * tower.dimensions);
  return out;
}

/** Images in one run: enough to fill the processor, few enough to stay in memory. */
const IMAGES = 16;

/** Features of pixels [n,3,S,S] → [n, dimensions]. @throws InputError where the values are no whole number of images */
export async function imageBatches(where: string, tower: Tower, pixels: Float32Array, size: number): Promise<Float32Array> {
  const each = 3 * size * size;
  const n = pixels.length / each;
  if (!Number.isInteger(n))
    throw new InputError(`${where}: ${pixels.length} values are no number of images [3,${size},${size}], ${each} values each`);
  const feed = (from: number, to: number): Feeds => ({
    pixels: float32(pixels.subarray(from * each, to * each), [to - from, 3, size, size]),
  });
  return inBatches(tower, n, IMAGES, feed);
}
