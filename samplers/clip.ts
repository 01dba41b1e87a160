/** @file Clipping of what a denoiser says: for networks whose samples leave the range of the data on the way. Ho et al. 2020. */
import '../engine/graph/fluent.ts';
import type { Denoiser } from '../engine/train/network.ts';
import type { Sampler } from '../engine/train/sampler.ts';

/** The denoised sample kept in [−bound, bound]; bound 0 leaves it as it is. */
export const clipped = (denoise: Denoiser, bound: number): Denoiser =>
  bound === 0 ? denoise : (x, sigma, condition) => denoise(x, sigma, condition).clamp(-bound, bound);

/**
 * A sampler that clips the denoised sample which its steps lead towards, but keeps the noise that the network saw, as diffusers' DDIM does; for those of one
 * evaluation whose steps are D + (x − D)·c + noise.
 */
export const clippedEnds = (sampler: Sampler, bound: number): Sampler => ({
  ...sampler,
  step(denoise, carry, levels, draw, place) {
    const denoised = denoise(carry.x, levels.sigma);
    const after = sampler.step(() => denoised, carry, levels, draw, place);
    return { ...after, x: after.x.add(denoised.clamp(-bound, bound).sub(denoised)) };
  },
});
