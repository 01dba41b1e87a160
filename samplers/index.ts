/** @file Samplers by name. */
import { OptionError, resolve } from '../engine/train/options.ts';
import type { Sampler, SamplerFamily } from '../engine/train/sampler.ts';
import { ddim } from './ddim.ts';
import { ddpm } from './ddpm.ts';
import { dpmpp2m } from './dpmpp-2m.ts';
import { dpmpp2mSde } from './dpmpp-2m-sde.ts';
import { dpmpp2s } from './dpmpp-2s.ts';
import { dpmpp3m } from './dpmpp-3m.ts';
import { euler } from './euler.ts';
import { heun } from './heun.ts';
import { ctm, tcd } from './jumps.ts';
import { eulerAncestral, flowEuler, flowHeun, lcm, scm } from './named.ts';
import { pathHeun } from './path-heun.ts';
import { plms, pndm } from './pndm.ts';
import { student } from './student.ts';
import { unipc } from './unipc.ts';

const ALL = [
  ...[euler, heun, ddim, ddpm, eulerAncestral],
  ...[dpmpp2m, dpmpp2mSde, dpmpp2s, dpmpp3m, unipc, plms, pndm],
  ...[flowEuler, flowHeun, pathHeun],
  ...[student, lcm, scm, tcd, ctm],
];

/** Every sampler, by name. */
export const samplers: Readonly<Record<string, SamplerFamily>> = Object.fromEntries(
  ALL.map((family) => [family.name, family as SamplerFamily]),
);

/** A sampler by its name, with options checked and filled in. Errors: an unknown name, an unknown option, a value out of range. */
export function sampler(name: string, values: Readonly<Record<string, unknown>> = {}): Sampler {
  const family = Object.hasOwn(samplers, name) ? samplers[name] : undefined;
  if (!family) throw new OptionError(`sampler: there is no ${name}; there are ${Object.keys(samplers).join(', ')}`);
  return family.build(resolve(name, family.options, values));
}
