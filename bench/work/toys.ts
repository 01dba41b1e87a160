/** @file One method on one mixture in the plane: trained from the exact denoiser, then measured on samples of one step. */
import { arranged, type Loss, mainPlayers } from '../../engine/train/loss.ts';
import { resolve } from '../../engine/train/options.ts';
import { classesOf, draws, modes, type Plan, pretrained, samplesOf, totalVariation, trained } from '../../losses/testing/distil.ts';
import { checkerboard, DMD2_IN_THE_PLANE, ring } from '../../losses/testing/planes.ts';
import { wasserstein1 } from '../wasserstein.ts';

export const targets = { ring, checkerboard } as const;
export type Target = keyof typeof targets;
/** Settings that differ from a method's own defaults. */
const given: Readonly<Record<string, Readonly<Record<string, unknown>>>> = { dmd2: DMD2_IN_THE_PLANE };

/** At least so many steps, and so many updates of the student. */
const [STEPS, UPDATES] = [4000, 2000];
const SAMPLES = 10_000;
/** A mode is found that has at least this share of what it should have. */
const FOUND = 0.5;
/** Evaluations of a method that trains a denoiser, which is sampled by Heun's method. */
const LEVELS = 32;

export interface Outcome {
  readonly method: string;
  readonly target: Target;
  readonly seed: number;
  readonly steps: number;
  readonly modes: number;
  /** Half the sum of the shares' errors. */
  readonly shares: number;
  /** More than five standard deviations from every mode. */
  readonly stray: number;
  /** Wasserstein-1 to as many true samples. */
  readonly distance: number;
  /** The same between two sets of true samples. */
  readonly floor: number;
  readonly seconds: number;
}

/** As many steps as the student needs for its updates. */
function stepsOf(loss: Loss, options: Readonly<Record<string, unknown>>): number {
  const main = mainPlayers(loss, options, 3);
  const phases = Object.values(arranged(loss, options).phases).filter(({ trains }) =>
    main.some((player) => (trains as string[]).includes(player)),
  );
  const of100 = Array.from({ length: 100 }, (_, step) => phases.some((phase) => phase.runs?.(step, options as never, 100) ?? true));
  return Math.max(STEPS, Math.round((UPDATES * 100) / of100.filter(Boolean).length));
}

const floors = new Map<string, number>();
/** The distance of a second set of true samples; all methods share it. */
function floorOf(name: Target, seed: number): number {
  const key = `${name} ${seed}`;
  const target = targets[name];
  if (!floors.has(key)) floors.set(key, wasserstein1(draws(target, SAMPLES, seed + 200, 0), draws(target, SAMPLES, seed + 100, 0)));
  return floors.get(key)!;
}

export async function toyOutcome(loss: Loss, name: Target, seed: number): Promise<Outcome> {
  const start = performance.now();
  const target = targets[name];
  const own = given[loss.name] ?? {};
  const steps = stepsOf(loss, resolve(loss.name, loss.options, own));
  const plan: Plan = {
    target,
    seed,
    batch: 256,
    steps,
    lr: 2e-3,
    othersLr: 3,
    network: { width: 64, layers: 3 },
    ...(classesOf(loss) > 0 ? { classes: classesOf(loss) } : {}),
  };
  const distils = Object.values(loss.players).some((player) => player === 'teacher') || 'student' in loss.players;
  const first = distils ? await pretrained({ ...plan, steps: 1000 }) : undefined;
  const samples = await samplesOf(
    plan,
    loss,
    await trained(plan, loss, own, first),
    SAMPLES,
    'student' in loss.players || loss.experts ? 1 : LEVELS,
  );
  const truth = draws(target, SAMPLES, seed + 100, 0);
  const { shares, stray } = modes(target, samples);
  return {
    method: loss.name,
    target: name,
    seed,
    steps,
    modes: shares.filter((share, k) => share >= FOUND * target.weights[k]!).length,
    shares: totalVariation(shares, target.weights),
    stray,
    distance: wasserstein1(samples, truth),
    floor: floorOf(name, seed),
    seconds: (performance.now() - start) / 1000,
  };
}
