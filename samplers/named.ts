/**
 * @file Solvers that are one for denoisers of x = x0 + σε, under the names that they have elsewhere: dividing the state of a flow, of a
 * variance-preserving process or of TrigFlow by its α makes them equal.
 */
import { flag, options } from '../engine/train/options.ts';
import { defineSampler, type Sampler } from '../engine/train/sampler.ts';
import { ddim } from './ddim.ts';
import { euler } from './euler.ts';
import { pathHeun } from './path-heun.ts';
import { student } from './student.ts';

const NONE = options({});
const deterministic = euler.build({ churn: 0, churnMin: 0, churnMax: 0, noiseScale: 1 });
const again = student.build({ noise: 'fresh' });
const called = (name: string, sampler: Sampler): Sampler => ({ ...sampler, name });

export const eulerAncestral = defineSampler({
  name: 'euler-ancestral',
  title: 'The same as ddim with eta 1: Euler down to a lower level, then noise up to the next.',
  reference: '2010.02502',
  options: NONE,
  build: () => called('euler-ancestral', ddim.build({ eta: 1 })),
});
export const flowEuler = defineSampler({
  name: 'flow-euler',
  title:
    "Euler on a flow, the same as euler; with stochastic the denoised sample is made noisy anew, the same as student. Use it with a flow's levels.",
  reference: '2210.02747',
  options: options({ stochastic: flag(false, 'Whether the denoised sample is made noisy with noise drawn anew, for distilled models') }),
  build: ({ stochastic }) => called('flow-euler', stochastic ? again : deterministic),
});
export const flowHeun = defineSampler({
  name: 'flow-heun',
  title: "Heun's method in the time of a flow, the same as path-heun on it; second order, two evaluations a step but the last.",
  reference: '2210.02747',
  options: NONE,
  build: () => called('flow-heun', pathHeun.build({ path: 'flow', corrected: true })),
});
export const lcm = defineSampler({
  name: 'lcm',
  title: 'Multistep consistency sampling, the same as student with fresh noise.',
  reference: '2310.04378',
  options: NONE,
  only: 'student',
  build: () => called('lcm', again),
});
export const scm = defineSampler({
  name: 'scm',
  title: "TrigFlow's consistency sampling, the same as student with fresh noise.",
  reference: '2410.11081',
  options: NONE,
  only: 'student',
  build: () => called('scm', again),
});
