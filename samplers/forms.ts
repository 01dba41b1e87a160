/** @file How a trained network is used as a denoiser once it is finished. */
import '../engine/graph/fluent.ts';
import { reciprocal, rsqrt } from '../engine/graph/ops/elementwise.ts';
import { constant } from '../engine/graph/ops/leaf.ts';
import type { Form } from '../engine/train/loss.ts';
import { type Network, networkOf } from '../engine/train/network.ts';

/** The consistency function of a network with EDM preconditioning: the identity at σmin. Song et al. 2023, arXiv:2303.01469, appendix C. */
export function boundary(
  { predict }: Network,
  { sigmaMin, sigmaData }: { readonly sigmaMin: number; readonly sigmaData: number },
): Network {
  return networkOf((x, sigma, condition) => {
    const raw = predict(x, sigma, condition).extras['raw'];
    if (!raw) throw new Error('internal: this network does not give its raw output, which consistency functions are made of');
    const above = sigma.sub(sigmaMin);
    const skip = reciprocal(above.square().add(sigmaData ** 2)).mul(sigmaData ** 2);
    return x.mul(skip).add(raw.mul(above.mul(rsqrt(sigma.square().add(sigmaData ** 2))).mul(sigmaData)));
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
