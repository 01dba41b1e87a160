/**
 * @file Phased DMD: the way from noise to data is cut into phases, each with a student of its own, an expert, and with a fake score that is trained on the
 * expert's own, still noisy, samples; together the experts are a mixture in time. arXiv:2510.27684.
 * Here noise is not scaled: an expert takes x of level σ to level s by x0 + (s/σ)(x − x0), and the fake score is trained above s alone. Its target there,
 * x_t + σ_t²/(σ_t² − s²) (x_s − x_t), has the mean E[x0 | x_t]; x_s itself has not. Directions are compared in x0 with DMD2's normaliser.
 * Of several levels within a phase one, drawn at random, is trained (truncated gradients). Phases are trained one after another, each from the teacher.
 * Left out: the diversity loss, averaging and alternation of experts of later public code.
 */
import '../engine/graph/fluent.ts';
import { add, cast, equal, floor, minimum } from '../engine/graph/ops/elementwise.ts';
import { constant } from '../engine/graph/ops/leaf.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import { defineLoss, type Scene } from '../engine/train/loss.ts';
import type { Condition } from '../engine/train/network.ts';
import { perSample } from '../engine/train/network.ts';
import { OptionError, options, real, reals, resolve, type Values, whole } from '../engine/train/options.ts';
import { guided } from '../samplers/guidance.ts';
import { matchingOptions, studentTurn } from './matching-terms.ts';
import { addNoise, edmWeight, indexedLevel, matchingDirection, pullAlong, weightedSquares } from './terms.ts';

const { sigmaData, levels, lowest, highest, guard } = matchingOptions.shape;
const phasedOptions = options({
  phases: whole(2, 'phases, each with an expert of its own', { min: 1, max: 16 }),
  studentLevels: reals([80, 2], 'noise levels at which the experts are called, falling; every phase has equally many', { min: 1e-3 }),
  ratio: whole(5, 'steps for each update of an expert; its fake score is updated on every step', { min: 1, max: 100 }),
  guidance: real(1, "scale of classifier-free guidance in the teacher's score; 1 is none", { min: 0, max: 100 }),
  boundaryWeight: real(10, 'how fast the weight of the fake score rises above the level at which a phase ends; 0.1 to 100', {
    min: 0.1,
    max: 100,
  }),
  sigmaData,
  levels,
  lowest,
  highest,
  guard,
});
type Options = Values<typeof phasedOptions>;
type PhasedScene = Scene<string, string, Options>;

/** Levels of phase k (from 0), how many come before them, and the level at which it ends. Errors: levels that do not fall, or cannot be shared out evenly. */
function phaseOf({ phases, studentLevels: all }: Options, k: number) {
  if (all.length === 0 || all.some((level, i) => i > 0 && level >= all[i - 1]!))
    throw new OptionError(`phased-dmd.studentLevels: [${all}] are not falling levels; give at least one, the highest first`);
  if (all.length % phases !== 0)
    throw new OptionError(
      `phased-dmd.studentLevels: ${all.length} levels cannot be shared by ${phases} phases; give a multiple of ${phases}`,
    );
  const each = all.length / phases;
  return { each, before: k * each, own: all.slice(k * each, (k + 1) * each), end: all[(k + 1) * each] ?? 0 };
}

/** x of level `from` at level `to`, along the line through its clean estimate. */
const move = (x: Tensor, x0: Tensor, from: Tensor | number, to: number): Tensor =>
  x0.add(x.sub(x0).mul(typeof from === 'number' ? to / from : constant(to).div(from)));

interface PhaseSamples {
  /** Estimate of the clean sample by the one call of the expert that is trained, and the sample at the end of the phase. */
  readonly x0: Tensor;
  readonly xs: Tensor;
  readonly condition: Condition;
}
/** Samples of phase k: the experts before it lead to its start. */
function generate({ nets, data, draw, options: o }: PhasedScene, k: number): PhaseSamples {
  const { each, before, own, end } = phaseOf(o, k);
  const condition = draw.condition('generated');
  const expert = (i: number) => nets[`expert${Math.floor(i / each) + 1}`]!;
  let x = draw.normal('z', data).mul(o.studentLevels[0]!);
  const step = (i: number): Tensor =>
    move(x, expert(i).denoise(x, constant(o.studentLevels[i]!), condition), o.studentLevels[i]!, o.studentLevels[i + 1]!).stop();
  for (let i = 0; i < before; i++) x = step(i);
  const exit = floor(draw.uniform('exit', { shape: [] }).mul(own.length));
  const at = (j: number): Tensor | number => (own.length === 1 ? 1 : cast(equal(exit, j), 'float32'));
  let input = x.mul(at(0));
  for (let j = 1; j < own.length; j++) {
    x = step(before + j - 1);
    input = input.add(x.mul(at(j)));
  }
  const level = own.length === 1 ? constant(own[0]!) : own.map((value, j) => constant(value).mul(at(j))).reduce(add);
  const x0 = expert(before).denoise(input, level, condition);
  return { x0, xs: move(input, x0, level, end), condition };
}

/** Levels above the end of a phase, with a margin, [N,1,…]; and the samples of its end under the noise that is missing. */
function noised({ data, draw, schedule, options: o }: PhasedScene, xs: Tensor, end: number, name: string) {
  const below = schedule.levels(o.levels).filter((level) => level <= end).length / o.levels;
  const sigma = indexedLevel(
    schedule,
    draw.uniform(`${name} level`, perSample(data)),
    o.levels,
    Math.min(below + o.lowest, o.highest),
    o.highest,
  );
  const missing = sigma.square().sub(end ** 2); // variance
  return { sigma, missing, xt: addNoise(xs, missing.sqrt(), draw.normal(`${name} noise`, data)) };
}

/** What the fake score is trained on at level σ_t, whose mean is E[x0 | x_t] of the phase's samples. */
export const scoreTarget = (xs: Tensor, xt: Tensor, sigma: Tensor, missing: Tensor): Tensor =>
  xt.add(xs.sub(xt).mul(sigma.square().div(missing)));

const isPhase = (k: number, step: number, { phases }: Options, steps: number): boolean =>
  Math.min(phases - 1, Math.floor((step * phases) / steps)) === k;

const arrange = (o: Options) => {
  const ks = Array.from({ length: o.phases }, (_, k) => k);
  const named = (name: string): Record<string, 'teacher'> => Object.fromEntries(ks.map((k) => [`${name}${k + 1}`, 'teacher'] as const));
  const student = (k: number) => ({
    trains: [`expert${k + 1}`],
    runs: (step: number, options: Options, steps: number) =>
      isPhase(k, step, options, steps) && studentTurn(step, { ...options, order: 'every' }),
    terms(scene: PhasedScene) {
      const { x0, xs, condition } = generate(scene, k);
      const { sigma, xt } = noised(scene, xs.stop(), phaseOf(scene.options, k).end, 'matching');
      const real = guided(scene.nets['teacher']!.denoise, scene.options.guidance)(xt, sigma, condition).stop();
      const fake = scene.nets[`fake${k + 1}`]!.denoise(xt, sigma, condition).stop();
      const matching = pullAlong(x0, matchingDirection(x0, real, fake, scene.options.guard));
      return { loss: matching, matching };
    },
  });
  const critic = (k: number) => ({
    trains: [`fake${k + 1}`],
    runs: (step: number, options: Options, steps: number) => isPhase(k, step, options, steps),
    terms(scene: PhasedScene) {
      const { xs, condition } = generate(scene, k);
      const clean = xs.stop();
      const { sigma, missing, xt } = noised(scene, clean, phaseOf(scene.options, k).end, 'score');
      const share = missing.div(sigma.square()); // of the level's variance, the noise that was added
      const weight = edmWeight(sigma, scene.options.sigmaData).mul(minimum(share.mul(scene.options.boundaryWeight), 1));
      const denoised = scene.nets[`fake${k + 1}`]!.denoise(xt, sigma, condition);
      const score = weightedSquares(denoised, scoreTarget(clean, xt, sigma, missing), weight);
      return { loss: score, score };
    },
  });
  return {
    players: { ...named('expert'), teacher: 'teacher' as const, ...named('fake') },
    phases: Object.fromEntries(ks.flatMap((k) => [[`student${k + 1}`, student(k)] as const, [`critic${k + 1}`, critic(k)] as const])),
  };
};

export default defineLoss({
  name: 'phased-dmd',
  title: 'distribution matching phase by phase, with an expert for each range of noise levels',
  reference: '2510.27684',
  options: phasedOptions,
  recommended: { beta1: 0, rate: 'constant' },
  ...arrange(resolve('phased-dmd', phasedOptions, {})),
  arrange,
  simultaneous: true,
  noise: 'implied',
  experts: (o) => Array.from({ length: o.phases }, (_, k) => ({ player: `expert${k + 1}`, above: phaseOf(o, k).end })),
});
