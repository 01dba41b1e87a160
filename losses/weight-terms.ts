/**
 * @file Weights of a denoiser's error by noise level, all on ‖D − x0‖². The signal-to-noise ratio is SNR = 1/σ². On an error of ε they are
 * 1/SNR times as much, since ε − ε̂ = (D − x0)/σ; on one of v, 1/(SNR + 1) times.
 */
import '../engine/graph/fluent.ts';
import { minimum, pow, reciprocal, sigmoid } from '../engine/graph/ops/elementwise.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import { edmWeight } from './terms.ts';

/** SNR = (α/(α σ))². */
export const snrOf = (sigma: Tensor): Tensor => reciprocal(sigma.square());

/** min(SNR, γ). Hang et al. 2023, arXiv:2303.09556. */
export const minSnrWeight = (sigma: Tensor, gamma = 5): Tensor => minimum(snrOf(sigma), gamma);
/** SNR γ/(SNR + γ). Crowson et al. 2024, arXiv:2401.11605. */
export const softMinSnrWeight = (sigma: Tensor, gamma = 5): Tensor => reciprocal(sigma.square().add(1 / gamma));
/** SNR/(k + SNR)^γ. Choi et al. 2022 (P2), arXiv:2204.00227. */
export const p2Weight = (sigma: Tensor, { k = 1, gamma = 1 }: { readonly k?: number; readonly gamma?: number } = {}): Tensor =>
  snrOf(sigma).div(pow(snrOf(sigma).add(k), gamma));
/** SNR · sigmoid(b − ln SNR). Hoogeboom et al. 2024, arXiv:2410.19324. */
export const sigmoidWeight = (sigma: Tensor, bias = -1): Tensor => snrOf(sigma).mul(sigmoid(sigma.log().mul(2).add(bias)));

/** By name, with the constants of the papers. */
export const denoisingWeights = {
  edm: edmWeight,
  'min-snr': (sigma) => minSnrWeight(sigma),
  'soft-min-snr': (sigma) => softMinSnrWeight(sigma),
  p2: (sigma) => p2Weight(sigma),
  sigmoid: (sigma) => sigmoidWeight(sigma),
} as const satisfies Readonly<Record<string, (sigma: Tensor, sigmaData: number) => Tensor>>;
