/**
 * @file What score identity distillation and the divergences that build on it share: their options, the terms of the fake network, and the samples at
 * which the student compares it with the teacher. Zhou et al. 2024 (SiD), arXiv:2404.04057.
 */
import '../engine/graph/fluent.ts';
import { maximum, minimum, softplus } from '../engine/graph/ops/elementwise.ts';
import { fill } from '../engine/graph/ops/movement.ts';
import { sizeOf, type Tensor } from '../engine/graph/tensor.ts';
import type { Scene } from '../engine/train/loss.ts';
import { type Prediction, perSample } from '../engine/train/network.ts';
import { options, real, type Values } from '../engine/train/options.ts';
import { addNoise, edmWeight, oneStep, weightedSquares } from './terms.ts';

export const identityOptions = options({
  studentLevel: real(2.5, 'noise level at which the student is called', { min: 1e-3 }),
  highest: real(0.8, "highest level of the student's term, as a fraction of the schedule", { min: 0, max: 1 }),
  // Levels are wider than in the papers, whose law hardly ever reaches the highest levels at which the student asks the fake score.
  levelMean: real(-0.5, 'mean of ln σ for fake score and discriminator; the papers have -1.2', { min: -10, max: 10 }),
  levelStd: real(1.8, 'standard deviation of ln σ for fake score and discriminator; the papers have 1.2', { min: 0.01, max: 10 }),
  sigmaData: real(0.5, 'standard deviation of the data', { min: 1e-3 }),
  discriminatorWeight: real(1, "weight of the discriminator's loss beside the fake score's squared error, summed over a sample", {
    min: 0,
  }),
});
type IdentityScene = Scene<'student' | 'teacher' | 'fake', never, Values<typeof identityOptions>>;

/**
 * The fake network's term on the student's samples. With `logitsOf`, a discriminator's beside it, on what the network says of generated and of real
 * samples under the same noise (SiDA, Zhou et al. 2024, arXiv:2410.14919).
 */
export function fakeTerms(scene: IdentityScene, phase: string, logitsOf: ((said: Prediction, sigma: Tensor) => Tensor) | null) {
  const { nets, data, draw, options: o } = scene;
  const generated = oneStep(scene, phase);
  const [x, condition] = [generated.x.stop(), generated.condition];
  const sigma = draw.normal(`${phase} level`, perSample(data)).mul(o.levelStd).add(o.levelMean).exp();
  const eps = draw.normal(`${phase} noise`, data);
  const said = nets.fake.predict(addNoise(x, sigma, eps), sigma, condition);
  const weight = edmWeight(sigma, o.sigmaData);
  const score = weightedSquares(said.denoised, x, weight);
  if (!logitsOf) return { loss: score, score };
  const real = logitsOf(nets.fake.predict(addNoise(data, sigma, eps), sigma, scene.condition), sigma);
  const fake = logitsOf(said, sigma);
  const gan = weightedDiscriminatorLoss(real, fake, weight);
  const share = o.discriminatorWeight / sizeOf(data.shape.slice(1));
  return { loss: score.add(gan.mul(share)), score, gan, real: real.mean(), fake: fake.mean() };
}

/** The student's samples under noise, what teacher and fake network say of them, and the scale of each sample. */
export function compared(scene: IdentityScene) {
  const { nets, draw, schedule, options: o } = scene;
  const { x, condition } = oneStep(scene, 'student');
  const sigma = schedule.quantile(draw.uniform('matching level', perSample(x)).mul(o.highest));
  const xt = addNoise(x, sigma, draw.normal('matching noise', x));
  const teacher = nets.teacher.denoise(xt, sigma, condition);
  return { x, xt, sigma, teacher, fake: nets.fake.predict(xt, sigma, condition), scale: identityScale(x, teacher) };
}

/** One number per sample, whatever its shape was: [N]. */
const perRow = (x: Tensor): Tensor => x.meanPerSample().reshape([x.shape[0]!]);

/** mean|x − D| per sample, at least 1e-5 and without a gradient: [N,1,…]. Zhou et al. 2024, arXiv:2404.04057. */
export const identityScale = (x: Tensor, real: Tensor): Tensor => maximum(x.sub(real).abs().meanPerSample(), 1e-5).stop();

/** (D_T − D_ψ)·((D_T − x) − α (D_T − D_ψ)), elementwise. Gradients run through the noised sample into both denoisers. */
export function scoreIdentity(x: Tensor, real: Tensor, fake: Tensor, alpha: number): Tensor {
  const gap = real.sub(fake);
  return gap.mul(real.sub(x).sub(gap.mul(alpha)));
}

/** How much a generated sample is pulled by the ratio r = p_real / p_fake at its noised place: w(r), and r w′(r). */
interface Divergence {
  weight(r: Tensor): Tensor;
  slope(r: Tensor): Tensor;
}
/**
 * ∫ E_fake[w(r) ‖s_real − s_fake‖²] dt is the divergence between real and generated samples: for D_f(p_fake ‖ p_real) with u = 1/r, w is u f″(u)
 * up to a factor. Wang et al. 2025, arXiv:2505.20755, theorem 3.1; Jeffreys' two parts are weighted as in the reference code.
 */
export const DIVERGENCES = {
  'reverse-kl': { weight: (r) => fill(1, r.shape), slope: (r) => fill(0, r.shape) },
  'forward-kl': { weight: (r) => r, slope: (r) => r },
  jeffreys: { weight: (r) => r.mul(0.4).add(0.6), slope: (r) => r.mul(0.4) },
  'jensen-shannon': { weight: (r) => r.div(r.add(1)), slope: (r) => r.div(r.add(1).square()) },
  'chi-square': { weight: (r) => r.square(), slope: (r) => r.square().mul(2) },
} as const satisfies Readonly<Record<string, Divergence>>;
export type DivergenceName = keyof typeof DIVERGENCES;

/** exp(logit), one per sample, in [1/limit, limit] and without a gradient: [N,1,…] like `level`. Several logits of a sample are averaged. */
export function densityRatio(logits: Tensor, level: Tensor, limit: number): Tensor {
  const r = perRow(logits).exp();
  return minimum(maximum(r, 1 / limit), limit)
    .stop()
    .reshape([...level.shape]);
}

/** The ratio with its gradient in the noised sample, ∇ ln r = s_real − s_fake = (D_T − D_ψ)/σ², which the denoisers know better than a discriminator. */
export function movingRatio(r: Tensor, xt: Tensor, real: Tensor, fake: Tensor, sigma: Tensor): Tensor {
  const slope = real.sub(fake).div(sigma.square()).stop();
  return r.add(slope.mul(xt.sub(xt.stop())).sumPerSample().mul(r));
}

/**
 * A loss, elementwise, whose gradient is exactly that of σ⁴ E_fake[w(r) ‖s_real − s_fake‖²] where D_ψ is the generated samples' own denoiser:
 * w (d² + 2 d (D_ψ − x)) − r w′ d² with d = D_T − D_ψ. The first part follows the score D_ψ as the samples move (score projection, with α = ½ of
 * score identity for w = 1), the second one the density inside r. `ratio` comes with its gradient.
 */
export function expandedDivergence(name: DivergenceName, x: Tensor, real: Tensor, fake: Tensor, ratio: Tensor): Tensor {
  const { weight, slope } = DIVERGENCES[name];
  return scoreIdentity(x, real, fake, 0.5)
    .mul(2)
    .mul(weight(ratio))
    .sub(real.sub(fake).square().mul(slope(ratio)));
}

/** −log D on generated logits, each sample's divided by its scale. */
export const scaledGeneratorLoss = (logits: Tensor, scale: Tensor): Tensor =>
  perRow(softplus(logits.neg()))
    .div(scale.reshape([-1]))
    .mean();

/** Half the logistic loss of a discriminator with a weight per sample. */
export const weightedDiscriminatorLoss = (real: Tensor, fake: Tensor, weight: Tensor): Tensor =>
  perRow(softplus(real.neg()))
    .add(perRow(softplus(fake)))
    .mul(weight.reshape([-1]))
    .mean()
    .mul(0.5);
