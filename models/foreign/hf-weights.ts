/** @file Stored tensors as weights: floats widened to float32; what is not a weight is left out. */
import { type SafetensorsFile, toFloat32 } from '../../engine/io/safetensors.ts';
import type { Weight, Weights } from '../../engine/train/weights.ts';

/** Numbered positions, which old checkpoints store as integers although they say nothing. */
const isWeight = (name: string, dtype: string): boolean => /^(F|BF)/.test(dtype) && !name.endsWith('position_ids');

/** Reads the weights that `keep` names; the file stays open. */
export async function readWeightsOf(file: SafetensorsFile, keep: (name: string) => boolean = () => true): Promise<Weights> {
  const weights = new Map<string, Weight>();
  for (const name of file.names) {
    if (!keep(name) || !isWeight(name, file.info(name).dtype)) continue;
    const stored = await file.read(name);
    weights.set(name, { shape: stored.shape, data: toFloat32(stored) });
  }
  return weights;
}
