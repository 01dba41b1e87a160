/** @file The contract of methods: who plays, what each phase trains, and on which scalar. */
import type { Shape, Tensor } from '../graph/tensor.ts';
import type { Condition, Head, Network } from './network.ts';
import type { Options, Values } from './options.ts';
import type { NoiseSchedule } from './schedule.ts';

type Like = { readonly shape: Shape };

/**
 * Declares randomness; nothing is drawn here. The trainer feeds each name from (seed, step, name, sample), so that a graph stays a pure
 * function. Two phases that use one name on one step see the same values.
 */
export interface Draw {
  /** Standard normal, shaped like `like`. */
  normal(name: string, like: Like): Tensor;
  /** Uniform in [0, 1), shaped like `like`. */
  uniform(name: string, like: Like): Tensor;
  /** Conditions drawn from the data set, independent of the batch; of the given classes alone, where they are given. */
  condition(name: string, classes?: readonly number[]): Condition;
}

/** Noise and the sample that a teacher made of it, [N, …sample] both. */
export interface Pair {
  readonly noise: Tensor;
  readonly sample: Tensor;
  readonly condition: Condition;
}

/** What a phase sees. */
export interface Scene<Player extends string = string, HeadName extends string = string, O = unknown> {
  readonly nets: Readonly<Record<Player, Network>>;
  readonly heads: Readonly<Record<HeadName, Head>>;
  /** Values of the method's `clock` at this step, scalars []. */
  readonly clock: Readonly<Record<string, Tensor>>;
  /** Values of the method's `memory` before this step. */
  readonly memory: Readonly<Record<string, Tensor>>;
  /** Clean samples [N, …sample]. */
  readonly data: Tensor;
  /** What the samples in `data` are conditioned on. */
  readonly condition: Condition;
  /** Stored pairs of this step, for methods that say `pairs`. */
  pair(): Pair;
  readonly schedule: NoiseSchedule;
  readonly draw: Draw;
  readonly options: O;
}

/** Where training stands when a step begins. */
export interface Moment {
  /** 0-based. */
  readonly step: number;
  /** Steps of the whole run. */
  readonly steps: number;
  /** Images seen before this step. */
  readonly nimg: number;
}

export interface Phase<Player extends string, HeadName extends string, O> {
  /** The only statement about freezing: gradients are taken in these players' and heads' parameters and nowhere else. */
  readonly trains: readonly (Player | HeadName)[];
  /** Whether it runs on a 0-based step of a run of `steps`; default: always. */
  runs?(step: number, options: O, steps: number): boolean;
  /** The scalar to minimise, and whatever is worth logging beside it. */
  terms(scene: Scene<Player, HeadName, O>): { readonly loss: Tensor } & Readonly<Record<string, Tensor>>;
  /** New values of the method's memory. What it has in common with `terms` is computed once. */
  remember?(scene: Scene<Player, HeadName, O>): Readonly<Record<string, Tensor>>;
}

/** A number made of where training stands. Written as a method, so that a method of any options is a `Loss`. */
type Clock<O> = { value(at: Moment, options: O): number }['value'];

/** A choice made of options, written as a method for the same reason. */
type Choice<O> = { of(options: O): boolean }['of'];

/** Whose weights a player starts from. */
export type Origin = 'teacher' | 'fresh';
/** A player that is told more numbers than the teacher is, by their names in its condition. Their weights start at zero: nothing changes at first. */
export interface Widened {
  readonly from: Origin;
  readonly scalars: readonly string[];
}
/** A player that nothing trains: the average e ← β e + (1 − β) w of another one's weights, moved after each of its updates. */
export interface Follower {
  readonly follows: string;
  beta(at: Moment, options: never): number;
}
/** A player that nothing trains: another one's weights as they were at points of its path. Both begin with the same weights, and so does every point. */
export interface Recalled {
  readonly recalls: string;
  /** Points of the path that are kept. */
  points(options: never): number;
  /** The point under which the other's weights are kept before a step; null: none. */
  keeps(at: Moment, options: never): number | null;
  /** The point whose weights it takes before a step; null: it stays as it is. */
  takes(at: Moment, options: never): number | null;
}
export type Start = Origin | Widened | Follower | Recalled;

/** A player that is part of the finished student: for the levels above the next expert's bound, or for some classes. */
export type Expert = { readonly player: string } & ({ readonly above: number } | { readonly classes: readonly number[] });

/** How the trained network is used as a denoiser once it is finished; default: as it is. */
export type Form =
  /** The numbers that it is told beside the noise level. */
  | { readonly kind: 'told'; readonly scalars: Readonly<Record<string, number>> }
  /** The identity at σmin instead of at 0. Song et al. 2023, appendix C. */
  | { readonly kind: 'boundary'; readonly sigmaMin: number; readonly sigmaData: number };

export interface Loss<Player extends string = string, HeadName extends string = string, S extends Options = Options> {
  /** Equals the file name. */
  readonly name: string;
  /** One line: what the method does. */
  readonly title: string;
  /** arXiv id. */
  readonly reference: string;
  readonly options: S;
  /** Training settings that suit the method (names of the command line); they replace the general defaults. */
  readonly recommended?: Readonly<Record<string, unknown>>;
  readonly players: Readonly<Record<Player, Start>>;
  /** Discriminators on hidden maps, unless `levelHeads` names them too; they start fresh. */
  readonly heads?: readonly HeadName[];
  /** Those of `heads` that are functions of the noise level alone, such as a learned log-variance: (any features, level [N,1,…]) ↦ [N,1], 0 at first. */
  readonly levelHeads?: readonly NoInfer<HeadName>[];
  /** Names of weights that stay as they start although their player is trained. */
  freezes?(options: Values<NoInfer<S>>): { readonly [P in Player]?: (weight: string) => boolean };
  /** Numbers that depend on where training stands, such as a curriculum's stage. */
  readonly clock?: Readonly<Record<string, Clock<Values<NoInfer<S>>>>>;
  /** Tensors that are kept from step to step and saved with the weights. One phase alone may change each. */
  readonly memory?: Readonly<Record<string, { readonly shape: readonly number[]; readonly value: number }>>;
  /** Whether float16 is known to spoil it: its authors or users found divergence. */
  readonly fragile?: boolean;
  /** Samples of a batch matter to each other, as in a mean over the batch that is no loss: batches are not cut into parts. */
  readonly coupled?: boolean;
  /** What it learns is the difference that a class makes to the teacher, so that a teacher without classes is refused. */
  readonly needsClasses?: boolean;
  /** Whether it trains on stored pairs of noise and the teacher's sample; where that depends on options, a function of them. */
  readonly pairs?: boolean | Choice<Values<NoInfer<S>>>;
  /** What a student of several levels is made noisy with between them: noise drawn anew (default), or that which its samples hold. */
  readonly noise?: 'fresh' | 'implied';
  /** How the finished student is used. */
  form?(options: Values<NoInfer<S>>): Form;
  /** Players and phases where they depend on options; those below are then the ones of the default options. */
  arrange?(options: Values<NoInfer<S>>): {
    readonly players: Loss['players'];
    readonly phases: Loss['phases'];
    readonly heads?: readonly string[];
  };
  /** The players that the finished student is made of, where it is more than one; of a data set with so many classes. Errors: too few classes. */
  experts?(options: Values<NoInfer<S>>, classes: number): readonly Expert[];
  /** Phases that run on one step all see the state from before it; otherwise each sees what the ones before it left. */
  readonly simultaneous?: boolean;
  readonly phases: Readonly<Record<string, Phase<NoInfer<Player>, NoInfer<HeadName>, Values<NoInfer<S>>>>>;
}

/** Infers the names of players, heads and options. */
export const defineLoss = <Player extends string, S extends Options, HeadName extends string = never>(
  loss: Loss<Player, HeadName, S>,
): Loss<Player, HeadName, S> => loss;

/** The method with the players and phases that its options ask for. */
export const arranged = (loss: Loss, options: Readonly<Record<string, unknown>>): Loss =>
  loss.arrange ? { ...loss, ...loss.arrange(options) } : loss;

/** Whether a method with these options trains on stored pairs. */
export const learnsFromPairs = ({ pairs = false }: Loss, options: Readonly<Record<string, unknown>>): boolean =>
  typeof pairs === 'boolean' ? pairs : pairs(options);

const widened = (start: Start | undefined): start is Widened => typeof start === 'object' && 'scalars' in start;
const follower = (start: Start | undefined): start is Follower => typeof start === 'object' && 'follows' in start;
const recalled = (start: Start | undefined): start is Recalled => typeof start === 'object' && 'recalls' in start;
/** The player whose network and first weights it shares; itself for most. */
const modelOf = ({ players }: Loss, player: string): string => {
  const start = players[player];
  return follower(start) ? start.follows : recalled(start) ? start.recalls : player;
};

/** The averages among the players, by name. */
export const followersOf = ({ players }: Loss): Readonly<Record<string, Follower>> =>
  Object.fromEntries(Object.entries(players).filter((entry): entry is [string, Follower] => follower(entry[1])));
/** The players that walk along another one's path, by name. */
export const recalledOf = ({ players }: Loss): Readonly<Record<string, Recalled>> =>
  Object.fromEntries(Object.entries(players).filter((entry): entry is [string, Recalled] => recalled(entry[1])));
/** Players that no phase trains and that change all the same, and the player that each takes after. */
export const shadowsOf = (loss: Loss): Readonly<Record<string, string>> =>
  Object.fromEntries([...Object.keys(followersOf(loss)), ...Object.keys(recalledOf(loss))].map((name) => [name, modelOf(loss, name)]));

/** Whose weights a player starts from; one that takes after another starts where that one does. */
export function originOf(loss: Loss, player: string): Origin {
  const own = loss.players[modelOf(loss, player)]!;
  return typeof own === 'string' ? own : (own as Widened).from;
}

/** The numbers that a player is told beside the noise level. */
export function scalarsOf(loss: Loss, player: string): readonly string[] {
  const own = loss.players[modelOf(loss, player)];
  return widened(own) ? own.scalars : [];
}

/** The players whose weights the finished model is made of: a student's experts, the student, or else the first player. */
export function mainPlayers(loss: Loss, options: Readonly<Record<string, unknown>>, classes: number): readonly string[] {
  const experts = loss.experts?.(options, classes);
  if (experts) return experts.map(({ player }) => player);
  return ['student' in loss.players ? 'student' : Object.keys(loss.players)[0]!];
}
