/** @file Diffusion networks of diffusers as a family: their configuration and their scheduler's are the options, so that a weights file says all that they are. */
import { add } from '../../../engine/graph/ops/elementwise.ts';
import type { Condition, Init, NetworkFamily, Scope } from '../../../engine/train/network.ts';
import { options, real, text } from '../../../engine/train/options.ts';
import { told } from '../../layers.ts';
import type { RawNetwork } from '../../precondition.ts';
import { diffusersNetwork, foreignDenoiser } from './networks.ts';
import { readScheduler } from './schedulers.ts';

export const diffusersOptions = options({
  config: text('{}', "the network's config.json"),
  scheduler: text('{}', "the scheduler's scheduler_config.json"),
  nulls: text(
    '{}',
    'conditions that stand in where none are given, such as the features of the empty text, and their shapes for one sample, as JSON',
  ),
  sigmaData: real(0.5, 'standard deviation of the samples', { min: 1e-3 }),
});

type Shapes = Readonly<Record<string, readonly number[]>>;
/** The names of the weights that hold a condition for those who give none. */
export const nullName = (condition: string): string => `null.${condition}`;
const ZERO = { kind: 'constant', value: 0 } as const;
const nullsOf = (scope: Scope, shapes: Shapes): Condition =>
  Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, scope.buffer(nullName(name), [1, ...shape], ZERO)]));

export const diffusersFamily: NetworkFamily<typeof diffusersOptions> = {
  name: 'diffusers',
  options: diffusersOptions,
  build(scope, { config, scheduler, nulls }, sample) {
    const network = diffusersNetwork('network', JSON.parse(config));
    const stand = nullsOf(scope, JSON.parse(nulls) as Shapes);
    // Numbers that the network has no input for are told beside its time.
    const further = (sample.scalars ?? []).filter((name) => !(name in network.conditions));
    const raw: RawNetwork = (x, time, condition) => network.raw(tellingScope(scope, further, condition), stand)(x, time, condition);
    return foreignDenoiser(further.length > 0 ? raw : network.raw(scope, stand), readScheduler('scheduler', JSON.parse(scheduler)));
  },
};

/** The last layer of every embedding of time. */
const TIME_BIAS = /(^|\.)(time_embedding|timestep_embedder)\.linear_2\.bias$/;
/** A scope in which the embedding of time is moved by what the network is told: a bias per sample, [N, width]. */
function tellingScope(scope: Scope, scalars: readonly string[], condition: Condition): Scope {
  const get: typeof scope = Object.assign(
    (name: string, shape: readonly number[], init?: Init) => {
      const weight = scope(name, shape, init);
      const moved = TIME_BIAS.test(name) ? told(scope, condition, scalars, shape[0]!) : null;
      return moved ? add(weight, moved) : weight;
    },
    { buffer: scope.buffer },
  );
  return get;
}
