/** @file How a trained network is used as a denoiser once it is finished. */
import '../engine/graph/fluent.ts';
import { reciprocal, sub } from '../engine/graph/ops/elementwise.ts';
import { constant } from '../engine/graph/ops/leaf.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import type { Form } from '../engine/train/loss.ts';
import { type Network, networkOf } from '../engine/train/network.ts';

/**
 * The consistency function of a network: the identity at σmin. Song et al. 2023, arXiv:2303.01469, appendix C, whose c_skip x + c_out F is
 * c_skip x + (1 − σmin/σ)(D − s x) with EDM's s = σd²/(σ² + σd²), so that the network may be parametrised in any way.
 */
export function boundary(
  { denoise }: Network,
  { sigmaMin, sigmaData }: { readonly sigmaMin: number; readonly sigmaData: number },
): Network {
  return networkOf((x, sigma, condition) => {
    const skipAt = (level: Tensor): Tensor => reciprocal(level.square().add(sigmaData ** 2)).mul(sigmaData ** 2);
    const said = denoise(x, sigma, condition).sub(x.mul(skipAt(sigma)));
    return x.mul(skipAt(sigma.sub(sigmaMin))).add(said.mul(sub(1, reciprocal(sigma).mul(sigmaMin))));
  });
}

/** A network that is told these numbers where its condition has no others of the same name. */
export const toldAlways = ({ predict, denoise }: Network, scalars: Readonly<Record<string, number>>): Network => {
  const fixed = Object.fromEntries(Object.entries(scalars).map(([name, value]) => [name, constant(Float64Array.of(value), [1])]));
  return {
    denoise: (x, sigma, condition) => denoise(x, sigma, { ...fixed, ...condition }),
    predict: (x, sigma, condition) => predict(x, sigma, { ...fixed, ...condition }),
  };
};

export const inForm = (network: Network, form: Form | undefined): Network =>
  !form ? network : form.kind === 'told' ? toldAlways(network, form.scalars) : boundary(network, form);
