/**
 * @file Heun's method in the time and scale of another process than ours, x_t = α x0 + σ ε: dx/dt = α̇ D + σ̇ ε̂ with ε̂ = (x_t − α D)/σ. Where the
 * trapezoids lie depends on the process; the trajectory does not. Karras et al. 2022, appendix D.3; for flows Lipman et al. 2023.
 */
import '../engine/graph/fluent.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import { choice, flag, options } from '../engine/train/options.ts';
import { defineSampler, type Sampler } from '../engine/train/sampler.ts';
import { type Path, rectifiedFlow, trigFlow, vpSde } from './paths.ts';
import { numbersOf, toClean } from './steps.ts';

/** In units of the data: x/α at the end is `keep` x + Σ (clean D + noise ε̂), with α̇ and σ̇ of the end named `there`. */
function numbersOn(path: Path, sigma: number, next: number): Readonly<Record<string, number>> {
  if (next === 0) return { keep: 0, clean: 0, noise: 0, cleanThere: 0, noiseThere: 0 }; // the denoised sample itself
  const [t, end] = [path.time(sigma), path.time(next)];
  const [alpha, h] = [path.alpha(end), end - t];
  const [here, there] = [path.slope(t), path.slope(end)];
  return {
    keep: path.alpha(t) / alpha,
    clean: (h * here.alpha) / alpha,
    noise: (h * here.sigma) / alpha,
    cleanThere: (h * there.alpha) / alpha,
    noiseThere: (h * there.sigma) / alpha,
  };
}
const noiseIn = (x: Tensor, denoised: Tensor, level: Tensor): Tensor => x.sub(denoised).div(level);

/** @param corrected whether there is a second evaluation: Heun's method; without it Euler's */
export const heunOn = (path: Path, corrected: boolean): Sampler => ({
  name: 'path-heun',
  evaluations: (place) => (toClean(place) || !corrected ? 1 : 2),
  numbers: (levels, i) => numbersOn(path, levels[i]!, levels[i + 1]!),
  start: (x) => ({ x }),
  step(denoise, { x }, levels, _draw, place) {
    const { sigma, next } = levels;
    const denoised = denoise(x, sigma);
    if (toClean(place)) return { x: denoised };
    const number = numbersOf('path-heun', levels);
    const kept = x.mul(number('keep'));
    const change = denoised.mul(number('clean')).add(noiseIn(x, denoised, sigma).mul(number('noise')));
    const probe = kept.add(change);
    if (!corrected) return { x: probe };
    const ahead = denoise(probe, next);
    const there = ahead.mul(number('cleanThere')).add(noiseIn(probe, ahead, next).mul(number('noiseThere')));
    return { x: kept.add(change.add(there).mul(0.5)) };
  },
});

const PATHS = { flow: rectifiedFlow, vp: vpSde(), trigflow: trigFlow(0.5) } as const satisfies Readonly<Record<string, Path>>;

export const pathHeun = defineSampler({
  name: 'path-heun',
  title: "Heun's method in the time of a flow or another process; second order, two evaluations a step but the last.",
  reference: '2206.00364',
  options: options({
    path: choice(['flow', 'vp', 'trigflow'], 'flow', 'Process whose time and scale the step is made in'),
    corrected: flag(true, 'Whether there is the second evaluation; without it the method is of first order'),
  }),
  build: ({ path, corrected }) => heunOn(PATHS[path], corrected),
});
