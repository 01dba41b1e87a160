/** @file AutoencoderTiny: TAESD, a small stand-in for the autoencoders of latent diffusion. https://github.com/madebyollin/taesd */
import * as z from 'zod';
import { add, clamp, div, mul, relu, round, sub, tanh } from '../../../engine/graph/ops/elementwise.ts';
import { upsampleNearest } from '../../../engine/graph/ops/resize.ts';
import { fixed, type Tensor } from '../../../engine/graph/tensor.ts';
import { InputError } from '../../../engine/io/errors.ts';
import type { Scope } from '../../../engine/train/network.ts';
import * as key from './config.ts';
import { ACTIVATIONS, type Activation, activations, conv, within } from './layers.ts';

export const autoencoderTinySchema = z.strictObject({
  in_channels: key.count(3),
  out_channels: key.count(3),
  encoder_block_out_channels: key.counts([64, 64, 64, 64]),
  decoder_block_out_channels: key.counts([64, 64, 64, 64]),
  act_fn: key.word(activations, 'relu'),
  upsample_fn: key.word(['nearest'], 'nearest'),
  latent_channels: key.count(4),
  upsampling_scaling_factor: key.count(2),
  num_encoder_blocks: key.layersOf([1, 3, 3, 3], 0),
  num_decoder_blocks: key.layersOf([3, 3, 3, 1], 0),
  latent_magnitude: key.real(3),
  latent_shift: key.real(0.5),
  scaling_factor: key.real(1),
  shift_factor: key.real(0),
});
export type AutoencoderTinyConfig = key.Config<typeof autoencoderTinySchema>;

/** The precision of half-precision runs, and a key that the class writes but does not read. */
const IDLE = ['force_upcast', 'block_out_channels'];

/** Errors: InputError as in `readConfig`, and lists of different lengths or of widths that do not follow each other. */
export function readAutoencoderTiny(where: string, json: unknown): AutoencoderTinyConfig {
  const c = key.readConfig(where, autoencoderTinySchema, IDLE, json);
  for (const part of ['encoder', 'decoder'] as const) {
    const [widths, blocks] = [c[`${part}_block_out_channels`], c[`num_${part}_blocks`]];
    if (widths.length !== blocks.length)
      throw new InputError(`${where}: num_${part}_blocks has ${blocks.length} entries, ${part}_block_out_channels has ${widths.length}`);
    if (new Set(widths).size > 1)
      throw new InputError(
        `${where}: ${part}_block_out_channels is ${key.shown(widths)}; all of them must be equal, no layer changes the width`,
      );
  }
  return c;
}

function block(scope: Scope, x: Tensor, act: Activation): Tensor {
  const width = fixed('tiny', x.shape[1]);
  const f = ACTIVATIONS[act];
  let y = f(conv(scope, 'conv.0', x, width, 3));
  y = f(conv(scope, 'conv.2', y, width, 3));
  return relu(add(conv(scope, 'conv.4', y, width, 3), x));
}

/** Layers under running numbers, as nn.Sequential names them. */
function sequence(scope: Scope): { next(f: (inside: Scope, name: string) => Tensor): Tensor; skip(): void } {
  let at = 0;
  return {
    next(f) {
      const name = `layers.${at++}`;
      return f(within(scope, `${name}.`), name);
    },
    skip: () => {
      at++;
    },
  };
}

function encode(scope: Scope, image: Tensor, c: AutoencoderTinyConfig): Tensor {
  const layers = sequence(scope);
  let x = mul(add(image, 1), 0.5);
  c.num_encoder_blocks.forEach((blocks, i) => {
    const width = c.encoder_block_out_channels[i]!;
    x = layers.next((_, name) => conv(scope, name, x, width, 3, i === 0 ? {} : { stride: 2, bias: false }));
    for (let b = 0; b < blocks; b++) x = layers.next((inside) => block(inside, x, c.act_fn));
  });
  return layers.next((_, name) => conv(scope, name, x, c.latent_channels, 3));
}

function decode(scope: Scope, latent: Tensor, c: AutoencoderTinyConfig): Tensor {
  const layers = sequence(scope);
  const last = c.num_decoder_blocks.length - 1;
  let x = layers.next((_, name) => conv(scope, name, mul(tanh(div(latent, 3)), 3), c.decoder_block_out_channels[0]!, 3));
  x = ACTIVATIONS[c.act_fn](x);
  layers.skip();
  c.num_decoder_blocks.forEach((blocks, i) => {
    const width = c.decoder_block_out_channels[i]!;
    for (let b = 0; b < blocks; b++) x = layers.next((inside) => block(inside, x, c.act_fn));
    if (i < last) {
      x = upsampleNearest(x, c.upsampling_scaling_factor);
      layers.skip();
    }
    x = layers.next((_, name) => conv(scope, name, x, i < last ? width : c.out_channels, 3, { bias: i === last }));
  });
  return sub(mul(x, 2), 1);
}

export interface TinyAutoencoder {
  /** Images [N,C,H,W] in −1…1 → latents. */
  encode(image: Tensor): Tensor;
  decode(latent: Tensor): Tensor;
  /** Latents as they come back from 8-bit storage; no gradient flows. */
  quantised(latent: Tensor): Tensor;
}

/** AutoencoderTiny with the checkpoint's names under the scope. */
export const autoencoderTiny = (scope: Scope, c: AutoencoderTinyConfig): TinyAutoencoder => ({
  encode: (image) => encode(within(scope, 'encoder.'), image, c),
  decode: (latent) => decode(within(scope, 'decoder.'), latent, c),
  quantised(latent) {
    const span = 2 * c.latent_magnitude;
    const stored = div(round(mul(clamp(add(div(latent, span), c.latent_shift), 0, 1), 255)), 255);
    return mul(sub(stored, c.latent_shift), span);
  },
});
