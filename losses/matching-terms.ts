/**
 * @file What methods of distribution matching share: their options, the student's samples, noise levels, the fake score's term and a
 * discriminator on noised samples. Yin et al. 2024 (DMD2), arXiv:2405.14867.
 */
import '../engine/graph/fluent.ts';
import { add, cast, equal, floor } from '../engine/graph/ops/elementwise.ts';
import { constant } from '../engine/graph/ops/leaf.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import type { Scene } from '../engine/train/loss.ts';
import { type Condition, type Denoiser, perSample } from '../engine/train/network.ts';
import { choice, OptionError, options, real, reals, type Values, whole } from '../engine/train/options.ts';
import {
  addNoise,
  discriminatorLoss,
  edmWeight,
  type Generated,
  indexedLevel,
  matchingDirection,
  mse,
  pullAlong,
  weightedSquares,
} from './terms.ts';

/** Of the student's samples and of the levels at which two scores are compared. */
export const matchingOptions = options({
  fakeWeight: choice(['edm', 'uniform'], 'edm', "weight of the fake score's squared error: 1/σ² + 1/σ_d² (DMD2) or 1 (FastGen)"),
  sigmaData: real(0.5, 'standard deviation of the data', { min: 1e-3 }),
  studentLevels: reals([80], 'noise levels at which the student is called, falling; one for a one-step student', { min: 1e-3 }),
  levels: whole(1000, 'noise levels from which those of the scores are drawn', { min: 2, max: 1_000_000 }),
  lowest: real(0.02, 'lowest level of the matching term, as a fraction of the list', { min: 0, max: 1 }),
  highest: real(0.98, 'highest level of the matching term, as a fraction of the list', { min: 0, max: 1 }),
  guard: real(1e-6, 'added to the denominator of the matching direction', { min: 0 }),
});
export type MatchingOptions = Values<typeof matchingOptions>;

/** How often the student and the critic are updated. */
export const turnOptions = options({
  ratio: whole(5, 'steps for each update of the student; the critic (fake score and discriminator) is updated more often', {
    min: 1,
    max: 100,
  }),
  order: choice(
    ['every', 'alternate'],
    'every',
    'critic updates: on every step, on the images made before the student moves (DMD2), or only on steps without the student (FastGen)',
  ),
});
type TurnOptions = Values<typeof turnOptions>;

/** Of the discriminator. */
export const judgeOptions = options({
  discriminatorWeight: real(1e-2, "weight of the discriminator's loss beside the fake score's", { min: 0 }),
  r1: real(0, "weight of the approximate R1 in the discriminator's loss, which keeps its logits smooth; 100 to 1000 are used", { min: 0 }),
  r1Noise: real(0.1, 'standard deviation of the noise that moves real samples for the approximate R1', { min: 0 }),
  ganNoise: choice(
    ['own', 'shared'],
    'own',
    'noise under which generated images are judged: drawn anew (DMD2) or that of matching term and score (FastGen, cheaper)',
  ),
  judged: choice(
    ['fake', 'teacher'],
    'fake',
    'whose hidden maps the discriminator sees: the fake network, which then learns from both (DMD2), or the frozen teacher (FastGen)',
  ),
  criticLevels: choice(
    ['all', 'matching'],
    'all',
    'levels of fake score and discriminator: the whole list (DMD2) or those of the matching term (FastGen)',
  ),
});
export type JudgeOptions = Values<typeof judgeOptions>;

/** Players and options that the functions here need. */
export type MatchingScene<O = MatchingOptions, HeadName extends string = never> = Scene<'student' | 'teacher' | 'fake', HeadName, O>;
type JudgeScene = MatchingScene<MatchingOptions & JudgeOptions, 'discriminator'>;

export const studentTurn = (step: number, o: TurnOptions): boolean => step % o.ratio === 0;
export const criticTurn = (step: number, o: TurnOptions): boolean => o.order === 'every' || !studentTurn(step, o);
/** Errors: a critic that would never have its turn. */
export function checkTurns(where: string, { ratio, order }: TurnOptions): void {
  if (order === 'alternate' && ratio === 1)
    throw new OptionError(`${where}: order alternate with ratio 1 never trains the critic; use a ratio of at least 2`);
}

/**
 * Samples of the student with their condition. With several levels, the student's own few-step trajectory up to a random exit, from which
 * one call is trained; `ofExit` picks the value of that exit among one for each level. Errors: levels that do not fall.
 */
export function generate(
  where: string,
  { nets, data, draw, options: { studentLevels } }: MatchingScene,
): Generated & { ofExit(values: readonly number[]): Tensor } {
  if (studentLevels.length === 0 || studentLevels.some((level, i) => i > 0 && level >= studentLevels[i - 1]!))
    throw new OptionError(`${where}.studentLevels: [${studentLevels}] are not falling levels; give at least one, the highest first`);
  const condition = draw.condition('generated');
  const [first, ...rest] = studentLevels as [number, ...number[]];
  const start = draw.normal('z', data).mul(first);
  if (rest.length === 0)
    return { x: nets.student.denoise(start, constant(first), condition), condition, ofExit: ([only]) => constant(only!) };
  const exit = floor(draw.uniform('exit', { shape: [] }).mul(studentLevels.length));
  const at = (k: number): Tensor => cast(equal(exit, k), 'float32');
  const ofExit = (values: readonly number[]): Tensor => values.map((value, k) => at(k).mul(value)).reduce(add);
  let [x, input] = [start, start.mul(at(0))];
  rest.forEach((sigma, i) => {
    const x0 = nets.student.denoise(x, constant(studentLevels[i]!), condition).stop();
    input = input.add(addNoise(x0, constant(sigma), draw.normal(`exit noise ${i}`, data)).mul(at(i + 1)));
    if (i + 1 < rest.length) x = addNoise(x0, constant(sigma), draw.normal(`step noise ${i}`, data));
  });
  return { x: nets.student.denoise(input, ofExit(studentLevels), condition), condition, ofExit };
}
/** The same, as what the critic learns from. */
export function generatedData(where: string, scene: MatchingScene): Generated {
  const { x, condition } = generate(where, scene);
  return { x: x.stop(), condition };
}

/** A level for each sample [N,1,…]: of the whole list, or of the range of the matching term. */
export function anyLevel({ draw, schedule, data, options: o }: MatchingScene, name: string, range: 'all' | 'matching'): Tensor {
  const u = draw.uniform(name, perSample(data));
  return range === 'all' ? indexedLevel(schedule, u, o.levels) : indexedLevel(schedule, u, o.levels, o.lowest, o.highest);
}

export interface Noised extends Generated {
  readonly sigma: Tensor;
  readonly xt: Tensor;
}
/** The student's samples, and the same under noise of the matching term's levels. */
export function noised(where: string, scene: MatchingScene): Noised & ReturnType<typeof generate> {
  const generated = generate(where, scene);
  const sigma = anyLevel(scene, 'matching level', 'matching');
  return { ...generated, sigma, xt: addNoise(generated.x, sigma, scene.draw.normal('matching noise', generated.x)) };
}
/** What two denoisers make of noised samples, given without gradient, as the direction of distribution matching. */
export function directionOf({ x, xt, sigma, condition }: Noised, real: Denoiser, fake: Denoiser, guard: number): Tensor {
  return matchingDirection(x, real(xt, sigma, condition).stop(), fake(xt, sigma, condition).stop(), guard);
}
/** The same as a scalar whose gradient it is. DMD2, eq. 2 with the normaliser of DMD. */
export const matchingTerm = (samples: Noised, real: Denoiser, fake: Denoiser, guard: number): Tensor =>
  pullAlong(samples.x, directionOf(samples, real, fake, guard));

/** The fake network's denoising of generated samples. DMD2, eq. 3. */
export function scoreTerm({ nets, draw, options: o }: MatchingScene, { x, condition }: Generated, sigma: Tensor) {
  const xt = addNoise(x, sigma, draw.normal('score noise', x));
  const { denoised, features } = nets.fake.predict(xt, sigma, condition);
  const score = o.fakeWeight === 'edm' ? weightedSquares(denoised, x, edmWeight(sigma, o.sigmaData)) : mse(denoised, x);
  return { score, xt, features };
}

/** The fake score's term where there is no discriminator; `conditioned` changes what it is told. */
export function fakeScore(where: string, scene: MatchingScene, conditioned = (condition: Condition): Condition => condition) {
  const { x, condition } = generatedData(where, scene);
  return scoreTerm(scene, { x, condition: conditioned(condition) }, anyLevel(scene, 'score level', 'all')).score;
}

/** Logits of the discriminator on the hidden maps of noised samples. */
export const judge = ({ nets, heads, options: { judged } }: JudgeScene, xt: Tensor, sigma: Tensor, condition: Condition): Tensor =>
  heads.discriminator(nets[judged].predict(xt, sigma, condition).features, sigma);

/** The same of clean samples under noise of their own. */
export function judgeNoised(scene: JudgeScene, { x, condition }: Generated, name: string): Tensor {
  const sigma = anyLevel(scene, `${name} level`, scene.options.criticLevels);
  return judge(scene, addNoise(x, sigma, scene.draw.normal(`${name} noise`, x)), sigma, condition);
}

/** The critic's terms: the fake score's, and the discriminator's (DMD2, eq. 4), weighted once more by `share`. */
export function criticTerms(where: string, scene: JudgeScene, share: Tensor | 1 = 1) {
  const { heads, draw, data, options: o } = scene;
  const generated = generatedData(where, scene);
  const sigma = anyLevel(scene, 'score level', o.criticLevels);
  const { score, xt, features } = scoreTerm(scene, generated, sigma);
  const judgeSame = () => (o.judged === 'fake' ? heads.discriminator(features, sigma) : judge(scene, xt, sigma, generated.condition));
  const samples: Generated = { x: data, condition: scene.condition };
  const real = judgeNoised(scene, samples, 'real');
  const fake = o.ganNoise === 'shared' ? judgeSame() : judgeNoised(scene, generated, 'fake');
  const gan = discriminatorLoss(real, fake);
  const shown = { score, gan, real: real.mean(), fake: fake.mean() };
  const total = (adversarial: Tensor): Tensor => score.add(adversarial.mul(o.discriminatorWeight).mul(share));
  if (o.r1 === 0) return { loss: total(gan), ...shown };
  const moved = data.add(draw.normal('r1 noise', data).mul(o.r1Noise)); // under the same level and noise: one name, one draw
  const r1 = mse(real, judgeNoised(scene, { ...samples, x: moved }, 'real'));
  return { loss: total(gan.add(r1.mul(o.r1))), ...shown, r1 };
}
