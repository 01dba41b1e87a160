/** @file A plain UNet of 2.4 M parameters for 32×32×3 images, written the same way in peers/unet.py. Names are those of the PyTorch modules there. */
import { attention } from '../../engine/graph/ops/attention.ts';
import { add, cos, mul, sin } from '../../engine/graph/ops/elementwise.ts';
import { constant } from '../../engine/graph/ops/leaf.ts';
import { concat, reshape, slice, swapLast } from '../../engine/graph/ops/movement.ts';
import { averagePool } from '../../engine/graph/ops/pool.ts';
import { upsampleNearest } from '../../engine/graph/ops/resize.ts';
import { fixed, type Tensor } from '../../engine/graph/tensor.ts';
import { type Network, type Scope, within } from '../../engine/train/network.ts';
import { conv, groupNorm, linear, silu } from '../../models/layers.ts';

const BASE = 64;
const WIDE = 2 * BASE;
const GROUPS = 32;
const EPS = 1e-5;
const FREQUENCIES = 32;

/** Two convolutions with the noise level added between them, and a residual sum. x [N,C,H,W], emb [N,E]. */
function residual(scope: Scope, x: Tensor, emb: Tensor, out: number): Tensor {
  const first = conv(scope, 'conv0', silu(groupNorm(scope, 'norm0', x, GROUPS, EPS)), out, 3);
  const shift = linear(scope, 'affine', emb, out);
  const moved = add(first, reshape(shift, [...shift.shape, 1, 1]));
  const second = conv(scope, 'conv1', silu(groupNorm(scope, 'norm1', moved, GROUPS, EPS)), out, 3);
  return add(second, x.shape[1] === out ? x : conv(scope, 'skip', x, out, 1));
}

/** Self-attention over positions, one head, with a residual sum. */
function attend(scope: Scope, x: Tensor): Tensor {
  const [n, , h, w] = x.shape;
  const c = fixed('attend', x.shape[1]);
  const qkv = reshape(conv(scope, 'qkv', groupNorm(scope, 'norm', x, GROUPS, EPS), 3 * c, 1), [n!, 3 * c, Number(h) * Number(w)]);
  const [q, k, v] = [0, 1, 2].map((i) => swapLast(slice(qkv, 1, i * c, (i + 1) * c))); // [N, HW, C]
  return add(conv(scope, 'proj', reshape(swapLast(attention(q!, k!, v!)), x.shape), c, 1), x);
}

/** [N,1,1,1] → [N, E]. */
function embed(scope: Scope, level: Tensor): Tensor {
  const frequencies = constant(
    Float64Array.from({ length: FREQUENCIES }, (_, i) => 1000 ** (i / (FREQUENCIES - 1))),
    [FREQUENCIES],
  );
  const angles = mul(reshape(level, [level.shape[0]!, 1]), frequencies);
  const hidden = silu(linear(scope, 'embed0', concat([sin(angles), cos(angles)], 1), 4 * BASE));
  return silu(linear(scope, 'embed1', hidden, 4 * BASE));
}

/** Attention at 16×16 and 8×8. x [N,3,32,32], level [N,1,1,1] in [0, 1] → [N,3,32,32]. */
export function plainUNet(scope: Scope): Network {
  const denoise = (image: Tensor, level: Tensor): Tensor => {
    const emb = embed(scope, level);
    const block = (name: string, x: Tensor, out: number): Tensor => residual(within(scope, `${name}.`), x, emb, out);
    const attended = (name: string, x: Tensor): Tensor => attend(within(scope, `${name}.`), x);
    const at32 = block('down32b', block('down32', conv(scope, 'first', image, BASE, 3), BASE), BASE);
    const at16 = attended('down16_attention', block('down16', averagePool(at32, { kernel: 2 }), WIDE));
    const at8 = attended('middle_attention', block('middle0', averagePool(at16, { kernel: 2 }), WIDE));
    const up8 = conv(scope, 'up8', upsampleNearest(block('middle1', at8, WIDE), 2), WIDE, 3);
    const joined16 = attended('up16_attention', block('up16', concat([up8, at16], 1), WIDE));
    const up16 = conv(scope, 'up16_conv', upsampleNearest(joined16, 2), WIDE, 3);
    const joined32 = block('up32', concat([up16, at32], 1), BASE);
    return conv(scope, 'last', silu(groupNorm(scope, 'norm', joined32, GROUPS, EPS)), 3, 3);
  };
  return { denoise, predict: (x, level) => ({ denoised: denoise(x, level), features: {}, extras: {} }) };
}
