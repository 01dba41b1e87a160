/** @file Sampling as a scheduler of diffusers does it, with a sampler of ours. */

import type { Denoiser } from '../../../engine/train/network.ts';
import type { Sampler } from '../../../engine/train/sampler.ts';
import { clipped, clippedEnds } from '../../../samplers/clip.ts';
import { sampler } from '../../../samplers/index.ts';
import type { ForeignSchedule } from './schedulers.ts';

/** The sampler that fits a scheduler, and the denoiser that it is to step with: clipped where the scheduler clips. `schedule.steps(n)` has the levels. */
export function fitted(
  { sampler: { name, options }, clip, clipKeepsNoise = false }: ForeignSchedule,
  denoise: Denoiser,
): { readonly sampler: Sampler; readonly denoise: Denoiser } {
  const solver = sampler(name, options);
  return clipKeepsNoise && clip > 0
    ? { sampler: clippedEnds(solver, clip), denoise }
    : { sampler: solver, denoise: clipped(denoise, clip) };
}
