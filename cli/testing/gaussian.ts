/** @file A model whose samples are known in closed form, as a weights file would give it. */
import type { Model, ModelCard } from '../work/model.ts';
import { tinyModel } from './tiny.ts';

/** The exact denoiser of N(0, 1/4): where all weights are 0, EDM's scalings leave D = x/(1 + 4σ²). */
export function gaussianModel(card: Partial<ModelCard> = {}): Model {
  const { weights, ...model } = tinyModel(card);
  return { ...model, weights: new Map([...weights].map(([name, { shape, data }]) => [name, { shape, data: data.map(() => 0) }])) };
}
