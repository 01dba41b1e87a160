/** @file What SD3 and Flux share: attention of image and text tokens together, each with weights of its own. Esser et al. 2024, arXiv:2403.03206. */
import { attention } from '../../../engine/graph/ops/attention.ts';
import { add, mul, silu } from '../../../engine/graph/ops/elementwise.ts';
import { concat, slice } from '../../../engine/graph/ops/movement.ts';
import { fixed, type Tensor } from '../../../engine/graph/tensor.ts';
import type { Scope } from '../../../engine/train/network.ts';
import { dense, embedNumber, feedForward, fromHeads, projectText, rmsNorm, toHeads, within } from './layers.ts';
import { modulated, modulation, widthOf } from './tokens.ts';

/** What is done to queries and keys [N,heads,T,d] after their own norm; the names of text's norms are led by `norm_added_`. */
export interface JointOptions {
  readonly heads: number;
  readonly norm: boolean;
  readonly rotate?: (x: Tensor) => Tensor;
  /** Which tokens stand first. */
  readonly first: 'image' | 'text';
}

const NORM_EPS = 1e-6;

interface Projected {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
}
function project(
  scope: Scope,
  tokens: Tensor,
  names: readonly [string, string, string],
  norms: readonly [string, string],
  o: JointOptions,
): Projected {
  const width = widthOf(tokens);
  const [q, k, v] = names.map((name) => toHeads(dense(scope, name, tokens, width), o.heads)) as [Tensor, Tensor, Tensor];
  return o.norm ? { q: rmsNorm(scope, norms[0], q, NORM_EPS), k: rmsNorm(scope, norms[1], k, NORM_EPS), v } : { q, k, v };
}
const OWN = ['to_q', 'to_k', 'to_v'] as const;
const ADDED = ['add_q_proj', 'add_k_proj', 'add_v_proj'] as const;

/** Attention of tokens among themselves, before the layer out. */
export function mixAlone(scope: Scope, tokens: Tensor, o: Omit<JointOptions, 'first'>): Tensor {
  const { q, k, v } = project(scope, tokens, OWN, ['norm_q', 'norm_k'], { ...o, first: 'image' });
  const turn = o.rotate ?? ((x: Tensor) => x);
  return fromHeads(attention(turn(q), turn(k), v));
}

/** Attention of image and text tokens, [N,T,width] each, after their layers out; the text has none where it is not needed any more. */
export function attendJointly(
  scope: Scope,
  image: Tensor,
  text: Tensor,
  o: JointOptions & { readonly textOut: boolean },
): { readonly image: Tensor; readonly text: Tensor | null } {
  const own = project(scope, image, OWN, ['norm_q', 'norm_k'], o);
  const added = project(scope, text, ADDED, ['norm_added_q', 'norm_added_k'], o);
  const order = o.first === 'image' ? [own, added] : [added, own];
  const join = (part: keyof Projected): Tensor =>
    concat(
      order.map((p) => p[part]),
      2,
    );
  const turn = o.rotate ?? ((x: Tensor) => x);
  const mixed = fromHeads(attention(turn(join('q')), turn(join('k')), join('v')));
  const split = fixed('attention', (o.first === 'image' ? image : text).shape[1]);
  const [start, end] = [slice(mixed, 1, 0, split), slice(mixed, 1, split)];
  const [fromImage, fromText] = o.first === 'image' ? [start, end] : [end, start];
  return {
    image: dense(scope, 'to_out.0', fromImage, widthOf(image)),
    text: o.textOut ? dense(scope, 'to_add_out', fromText, widthOf(text)) : null,
  };
}

/** AdaLayerNormZero: the modulated tokens, and what the rest of the block is modulated by. */
export function adaZero(scope: Scope, name: string, tokens: Tensor, condition: Tensor) {
  const parts = modulation(scope, `${name}.linear`, condition, widthOf(tokens), 6);
  const [shift, scale, gate, shift2, scale2, gate2] = parts as [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor];
  return { hat: modulated(tokens, shift, scale), gate, shift2, scale2, gate2 };
}
/** AdaLayerNormContinuous, which takes the scale before the shift. */
export function adaContinuous(scope: Scope, name: string, tokens: Tensor, condition: Tensor): Tensor {
  const [scale, shift] = modulation(scope, `${name}.linear`, condition, widthOf(tokens), 2) as [Tensor, Tensor];
  return modulated(tokens, shift, scale);
}

/** The second half of a block: a hidden layer, modulated and gated. */
export const gatedFeedForward = (scope: Scope, name: string, x: Tensor, m: { shift2: Tensor; scale2: Tensor; gate2: Tensor }): Tensor =>
  add(x, mul(m.gate2, feedForward(within(scope, `${name}.`), modulated(x, m.shift2, m.scale2), 'gelu-approximate')));

/** Time, pooled text and, where it is given, guidance as one vector [N,width]. */
export function combined(
  scope: Scope,
  width: number,
  given: { readonly time: Tensor; readonly pooled: Tensor; readonly guidance?: Tensor | undefined },
): Tensor {
  const time = embedNumber(within(scope, 'timestep_embedder.'), given.time, width);
  const guided = given.guidance ? add(time, embedNumber(within(scope, 'guidance_embedder.'), given.guidance, width)) : time;
  return add(guided, projectText(within(scope, 'text_embedder.'), given.pooled, width, silu));
}
