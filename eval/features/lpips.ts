/** @file LPIPS as it is run on pairs of images in bytes, with the user's weights. */
import { availableParallelism } from 'node:os';
import { toOnnx } from '../../engine/graph/onnx.ts';
import { input } from '../../engine/graph/ops/leaf.ts';
import { ShapeError } from '../../engine/graph/tensor.ts';
import { InputError } from '../../engine/io/errors.ts';
import { loadModel } from '../../engine/run/ort.ts';
import { float32 } from '../../engine/run/runtime.ts';
import { checkWeights, constantScope, recordingScope } from '../../engine/train/weights.ts';
import { fromBytes, lpips, type LpipsNet, readLpipsWeights } from '../../models/foreign/lpips.ts';

export interface LpipsOptions {
  /** The trunk's file and the heads', or one that holds both. */
  readonly weights: readonly string[];
  readonly net: LpipsNet;
  /** Of the images, [C, H, W] with C 3 or 1. */
  readonly shape: readonly number[];
}
export interface LpipsPairs {
  /** Distances of pairs of images of a set [n, C, H, W], 0..255, by their places: [first, second]. */
  distances(pixels: Uint8Array, pairs: readonly (readonly [number, number])[]): Promise<Float64Array>;
  close(): Promise<void>;
}

const BATCH = 8;

/** @throws InputError where weights are missing or of another network, and for images that it does not take */
export async function openLpips({ weights, net, shape }: LpipsOptions): Promise<LpipsPairs> {
  const [trunk, heads = trunk] = weights;
  if (trunk === undefined || heads === undefined || weights.length > 2)
    throw new InputError(
      `lpips: ${weights.length} files of weights; give the trunk's (torchvision's ${net}) and the heads' with --lpips-weights trunk.pth,heads.pth, or one file with both`,
    );
  const [channels, h, w] = shape as [number, number, number];
  if (channels !== 3 && channels !== 1) throw new InputError(`lpips: images of ${channels} channels; 3 or 1 expected`);
  const values = await readLpipsWeights({ trunk, heads });
  const [a, b] = [input('a', ['N', 3, h, w]), input('b', ['N', 3, h, w])];
  const { scope, declared } = recordingScope('lpips');
  try {
    lpips(scope, net, a, b);
  } catch (error) {
    if (error instanceof ShapeError) throw new InputError(`lpips: images of ${w}x${h} are too small for ${net} (${error.message})`);
    throw error;
  }
  checkWeights(weights.join(', '), declared.values(), values);
  const { distance } = lpips(constantScope(values), net, fromBytes(a), fromBytes(b));
  const model = await loadModel(toOnnx({ distance }, { target: 'cpu' }), { threads: availableParallelism() });
  const area = h * w;
  const each = channels * area;
  const batchOf = (pixels: Uint8Array, places: readonly number[]) => {
    const out = new Float32Array(places.length * 3 * area);
    for (const [i, place] of places.entries())
      for (let c = 0; c < 3; c++) {
        const from = place * each + (channels === 3 ? c * area : 0);
        out.set(pixels.subarray(from, from + area), (3 * i + c) * area);
      }
    return float32(out, [places.length, 3, h, w]);
  };
  return {
    async distances(pixels, pairs) {
      const out = new Float64Array(pairs.length);
      for (let from = 0; from < pairs.length; from += BATCH) {
        const some = pairs.slice(from, from + BATCH);
        const [first, second] = [some.map(([i]) => i), some.map(([, j]) => j)];
        const found = await model.run({ a: batchOf(pixels, first), b: batchOf(pixels, second) });
        out.set(found['distance']!.data as Float32Array, from);
      }
      return out;
    },
    close: () => model.close(),
  };
}
