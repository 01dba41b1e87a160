/** @file Clipping of what a step leads towards, which keeps the noise that the network saw. */
import { describe, expect, test } from 'vitest';
import { constant } from '../engine/graph/ops/leaf.ts';
import { evaluate } from '../engine/graph/reference.ts';
import type { Denoiser } from '../engine/train/network.ts';
import { clippedEnds } from './clip.ts';
import { sampler } from './index.ts';
import { constantLevels } from './unroll.ts';

const draw = {} as never;
/** x after a step of DDIM from level 2 to `next`, for a network that says D. */
function stepped(D: number, x: number, next: number): number {
  const denoise: Denoiser = () => constant(Float64Array.of(D), [1, 1]);
  const solver = clippedEnds(sampler('ddim'), 1);
  const after = solver.step(
    denoise,
    { x: constant(Float64Array.of(x), [1, 1]) },
    constantLevels(solver, [2], 0, next),
    draw,
    next === 0 ? 'only' : 'first',
  );
  return evaluate([after.x])[0]!.data[0]!;
}

describe('DDIM with clipped ends', () => {
  test('D + (x − D)/σ · next with D clipped where it stands alone', () => {
    expect(stepped(3, 5, 1)).toBeCloseTo(1 + ((5 - 3) / 2) * 1, 12);
    expect(stepped(-3, 5, 0.5)).toBeCloseTo(-1 + ((5 + 3) / 2) * 0.5, 12);
  });
  test('the clean sample is the clipped one', () => expect(stepped(3, 5, 0)).toBe(1));
  test('inside the bound nothing changes', () => expect(stepped(0.25, 5, 1)).toBeCloseTo(0.25 + (5 - 0.25) / 2, 12));
});
