/**
 * @file Layer normalisation as a primitive: ONNX Runtime does in one pass what its composition takes seven for. Networks that are built here compose it
 * (normalize.ts); files that bring the operator keep it.
 */
import { applyAll, fixed, type Op, ShapeError, show, type Tensor } from '../tensor.ts';
import { add, mul, sub } from './elementwise.ts';
import { constant } from './leaf.ts';
import { reshape } from './movement.ts';
import { reduceMean, reduceSum } from './reduce.ts';

const leading = (x: Tensor): number[] => [...x.shape.keys()].slice(0, -1);

const layerNormalizeOp: Op<{ readonly eps: number }> = {
  name: 'layerNormalize',
  infer([x, gamma, beta]) {
    const width = x!.shape.at(-1);
    for (const t of beta ? [gamma!, beta] : [gamma!])
      if (t.shape.length !== 1 || t.shape[0] !== width)
        throw new ShapeError(`layerNormalize: ${show(t)} is not [${width}] for ${show(x!)}`);
    const stats = { shape: x!.shape.with(-1, 1), dtype: x!.dtype };
    return [{ shape: x!.shape, dtype: x!.dtype }, stats, stats];
  },
  // Ba et al. 2016. With x̂ = (x − mean)·rstd and g = dy·γ: dx = rstd (g − mean g − x̂ mean(g x̂)).
  vjp({ inputs: [x, gamma, beta], outputs: [, mean, rstd] }, [dy, dmean, drstd]) {
    const width = fixed('layerNormalize', x!.shape.at(-1));
    const hat = mul(sub(x!, mean!), rstd!);
    const parts: Tensor[] = [];
    if (dy) {
      const g = mul(dy, gamma!);
      parts.push(mul(rstd!, sub(sub(g, reduceMean(g, [-1])), mul(hat, reduceMean(mul(g, hat), [-1])))));
    }
    // ∂mean/∂x = 1/d, ∂rstd/∂x = −rstd² x̂/d: where those outputs are used, and for second derivatives.
    if (dmean) parts.push(mul(add(mul(x!, 0), dmean), 1 / width));
    if (drstd) parts.push(mul(mul(hat, mul(drstd, mul(rstd!, rstd!))), -1 / width));
    const dgamma = dy && reshape(reduceSum(mul(dy, hat), leading(x!)), gamma!.shape);
    const dx = parts.length > 0 ? parts.reduce(add) : null;
    return beta ? [dx, dgamma ?? null, dy ? reshape(reduceSum(dy, leading(x!)), beta.shape) : null] : [dx, dgamma ?? null];
  },
  onnx: ({ attrs: { eps } }, names, emit) => emit.nodes('LayerNormalization', names, 3, { axis: -1, epsilon: { float: eps } }),
  reference([x, gamma, beta], { attrs: { eps } }) {
    const d = x!.shape.at(-1)!;
    const rows = x!.data.length / d;
    const y = new Float64Array(x!.data.length);
    const [means, deviations] = [new Float64Array(rows), new Float64Array(rows)];
    for (let r = 0; r < rows; r++) {
      const row = x!.data.subarray(r * d, (r + 1) * d);
      const m = row.reduce((s, v) => s + v, 0) / d;
      const rstd = 1 / Math.sqrt(row.reduce((s, v) => s + (v - m) ** 2, 0) / d + eps);
      [means[r], deviations[r]] = [m, rstd];
      row.forEach((v, i) => {
        y[r * d + i] = (v - m) * rstd * gamma!.data[i]! + (beta?.data[i] ?? 0);
      });
    }
    return [y, means, deviations];
  },
};

/** Layer normalisation over the last axis: (x − mean)/√(variance + eps)·gamma + beta, the mean, and 1/√(variance + eps). x […, d], gamma and beta [d]. */
export function layerNormalize(x: Tensor, gamma: Tensor = ones(x), beta?: Tensor, eps = 1e-5): readonly [Tensor, Tensor, Tensor] {
  return applyAll(layerNormalizeOp, beta ? [x, gamma, beta] : [x, gamma], { eps }) as unknown as readonly [Tensor, Tensor, Tensor];
}
function ones(x: Tensor): Tensor {
  const width = fixed('layerNormalize', x.shape.at(-1));
  return constant(new Float64Array(width).fill(1), [width]);
}
