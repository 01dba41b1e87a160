/** @file The text as one vector: attention from its mean over all tokens, as DeepFloyd IF adds to the time. */
import { attention } from '../../../engine/graph/ops/attention.ts';
import { add } from '../../../engine/graph/ops/elementwise.ts';
import { concat, reshape } from '../../../engine/graph/ops/movement.ts';
import { reduceMean } from '../../../engine/graph/ops/reduce.ts';
import { fixed, type Tensor } from '../../../engine/graph/tensor.ts';
import type { Scope } from '../../../engine/train/network.ts';
import { dense, fromHeads, layerNorm, toHeads } from './layers.ts';

const EPS = 1e-5;

/** TextTimeEmbedding: text [N,T,D] → [N,width]. */
export function poolText(scope: Scope, text: Tensor, width: number, heads: number): Tensor {
  const d = fixed('text', text.shape[2]);
  const tokens = layerNorm(scope, 'norm1', text, EPS);
  const place = scope('pool.positional_embedding', [1, d], { kind: 'normal', std: 1 / Math.sqrt(d) });
  const mean = add(reduceMean(tokens, [1]), place); // [N,1,D]
  const all = concat([mean, tokens], 1);
  const project = (name: string, x: Tensor): Tensor => toHeads(dense(scope, `pool.${name}`, x, d), heads);
  const pooled = fromHeads(attention(project('q_proj', mean), project('k_proj', all), project('v_proj', all)));
  return layerNorm(scope, 'norm2', dense(scope, 'proj', reshape(pooled, [text.shape[0]!, d]), width), EPS);
}
