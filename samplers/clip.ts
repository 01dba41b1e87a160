/** @file Clipping of what a denoiser says: for networks whose samples leave the range of the data on the way. Ho et al. 2020. */
import '../engine/graph/fluent.ts';
import type { Denoiser } from '../engine/train/network.ts';

/** The denoised sample kept in [−bound, bound]; bound 0 leaves it as it is. */
export const clipped = (denoise: Denoiser, bound: number): Denoiser =>
  bound === 0 ? denoise : (x, sigma, condition) => denoise(x, sigma, condition).clamp(-bound, bound);
