/** @file Networks under our conditions: any batch, one condition for all samples, the null class, packing, hidden maps, and what configurations may not say. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import '../../../engine/graph/fluent.ts';
import { constant, input } from '../../../engine/graph/ops/leaf.ts';
import { evaluate } from '../../../engine/graph/reference.ts';
import type { Tensor } from '../../../engine/graph/tensor.ts';
import { InputError } from '../../../engine/io/errors.ts';
import { ortRuntime } from '../../../engine/run/ort.ts';
import { float32 } from '../../../engine/run/runtime.ts';
import type { Condition } from '../../../engine/train/network.ts';
import { constantScope, initialise } from '../../../engine/train/weights.ts';
import { readAutoencoderKL } from './autoencoder-kl.ts';
import { readAutoencoderTiny } from './autoencoder-tiny.ts';
import type { Schema } from './config.ts';
import { ditSchema } from './dit.ts';
import { fluxSchema } from './flux.ts';
import { loadNetwork } from './folder.ts';
import { attend } from './layers.ts';
import { classNameOf, type DiffusersNetwork, diffusersNetwork, foreignDenoiser, networkNames } from './networks.ts';
import { pixartSchema } from './pixart.ts';
import { sanaSchema } from './sana.ts';
import { readScheduler } from './schedulers.ts';
import { sd3Schema } from './sd3.ts';
import { SMALL } from './testing/small.ts';
import { storedFolder } from './testing/stored.ts';
import { unet2dSchema } from './unet2d.ts';
import { unet2dConditionSchema } from './unet2d-condition.ts';
import { declaredBy } from './weights.ts';

/** Values that repeat for nobody: (0.618… i mod 1) − ½. */
const spread = (shape: readonly number[], from = 0): Float32Array =>
  Float32Array.from({ length: shape.reduce((n, d) => n * d, 1) }, (_, i) => (((i + from) * 0.6180339887) % 1) - 0.5);
const weightsOf = (network: DiffusersNetwork) =>
  new Map(
    [...initialise(declaredBy('test', network).values(), 3, 'net')].map(([name, { shape }], i) => [
      name,
      { shape, data: spread(shape, 7 * i) },
    ]),
  );

const SCHEMAS: Readonly<Record<string, Schema>> = {
  UNet2DModel: unet2dSchema,
  UNet2DConditionModel: unet2dConditionSchema,
  DiTTransformer2DModel: ditSchema,
  PixArtTransformer2DModel: pixartSchema,
  SD3Transformer2DModel: sd3Schema,
  SanaTransformer2DModel: sanaSchema,
  FluxTransformer2DModel: fluxSchema,
};
const small = (name: string): DiffusersNetwork => diffusersNetwork(name, { _class_name: name, ...SMALL[name] });
/** One condition for `n` samples, all alike. */
const conditionsOf = (network: DiffusersNetwork, n: number): Condition =>
  Object.fromEntries(
    Object.entries(network.conditions).map(([name, shape]) => {
      const one = name === 'mask' ? Float32Array.from({ length: shape[0]! }, (_, i) => Number(i < 50)) : spread(shape, name.length);
      return [name, constant(Float32Array.from(Array.from({ length: n }, () => [...one]).flat()), [n, ...shape])];
    }),
  );
const SIDE = 8;

test('every class is tried', () => expect(Object.keys(SMALL).sort()).toEqual([...networkNames].sort()));

describe.each(networkNames)('%s', (name) => {
  const network = small(name);
  const weights = weightsOf(network);
  const shape = [2, network.channels, SIDE, SIDE];
  const [x, sigma] = [spread(shape), Float32Array.of(0.7, 3)];
  const schedule = readScheduler('s', { _class_name: network.flow ? 'FlowMatchEulerDiscreteScheduler' : 'DDIMScheduler' });
  const denoiser = foreignDenoiser(network.raw(constantScope(weights)), schedule);

  test('a batch of unknown size gives what each sample gives by itself, with one condition for all', async () => {
    const runtime = ortRuntime({ threads: 1 });
    const y = denoiser.denoise(input('x', ['N', ...shape.slice(1)]), input('sigma', ['N', 1, 1, 1]), conditionsOf(network, 1));
    const { program } = await runtime.compile({ program: { outputs: { y }, updates: new Map() } }, runtime.state({}));
    const together = (await program!.run({ x: float32(x, shape), sigma: float32(sigma, [2, 1, 1, 1]) }))['y']!;
    await program!.close();
    expect(together.shape).toEqual(shape);
    const each = [0, 1].flatMap((i) => {
      const one = constant(x.subarray((i * x.length) / 2, ((i + 1) * x.length) / 2), [1, ...shape.slice(1)]);
      return [...evaluate([denoiser.denoise(one, constant(sigma[i]!), conditionsOf(network, 1))])[0]!.data];
    });
    const size = Math.max(...each.map(Math.abs));
    expect(Math.max(...each.map((v, i) => Math.abs(v - (together.data as Float32Array)[i]!)))).toBeLessThan(1e-4 * size);
    expect(new Set(each.map((v) => v.toPrecision(8))).size).toBeGreaterThan(each.length / 2);
  });

  test('hidden maps: a bottleneck, and those of the encoder or of every block', () => {
    const { features } = denoiser.predict(constant(x, shape), constant(1), conditionsOf(network, 2));
    const names = Object.keys(features);
    expect(names).toContain('bottleneck');
    if (name.startsWith('UNet'))
      expect(names.toSorted()).toEqual(['bottleneck', 'decoder.4x4', 'decoder.8x8', 'encoder.4x4', 'encoder.8x8']);
    else expect(names.filter((n) => n.startsWith('block'))).toHaveLength(2);
    for (const map of Object.values(features)) expect(map.shape[0]).toBe(2);
  });
});

test('the null class of DiT is the last row, which a missing label means; soft labels mix', () => {
  const network = small('DiTTransformer2DModel');
  const scope = constantScope(weightsOf(network));
  const x = constant(spread([1, 4, SIDE, SIDE]), [1, 4, SIDE, SIDE]);
  const forward = (label: Tensor): Tensor =>
    network.forward(scope)({ hidden_states: x, timestep: constant(5), class_labels: label }).output;
  const raw = (condition: Condition): Tensor => network.raw(scope)(x, constant(Float64Array.of(5), [1]), condition).output;
  const of = (t: Tensor): Float64Array => evaluate([t])[0]!.data;
  const half = 4 * SIDE * SIDE; // what is left without the learned variance
  expect(of(raw({}))).toEqual(of(forward(constant(BigInt64Array.of(3n), [1]))).slice(0, half));
  const one = of(raw({ label: constant(Float64Array.of(0, 1, 0), [1, 3]) }));
  expect(one).toEqual(of(forward(constant(BigInt64Array.of(1n), [1]))).slice(0, half));
});

describe.each(['UNet2DConditionModel', 'PixArtTransformer2DModel', 'SanaTransformer2DModel'])('negative attention of %s', (name) => {
  const network = small(name);
  const weights = weightsOf(network);
  const x = constant(spread([2, network.channels, SIDE, SIDE]), [2, network.channels, SIDE, SIDE]);
  const given = conditionsOf(network, 2);
  const strength = [0.5, 1]; // scaled weights are exact in float32
  const output = (more: Condition, scale = 1): Float64Array => {
    const scaled = new Map(
      [...weights].map(([key, w]) => [key, /attn2\.to_v\./.test(key) ? { ...w, data: w.data.map((v) => v * scale) } : w]),
    );
    return evaluate([network.raw(constantScope(scaled))(x, constant(5), { ...given, ...more }).output])[0]!.data;
  };
  const against = (text: Tensor, ...by: number[]): Condition => ({
    negativeText: text,
    negativeMask: given['mask']!,
    negativeStrength: constant(Float64Array.from(by), [2, 1]),
  });

  test('against the text itself it takes the values 1 − α times, each sample its own α', () => {
    const mixed = output(against(given['text']!, ...strength));
    const half = mixed.length / 2;
    strength.forEach((alpha, i) => {
      const scaled = output({}, 1 - alpha).subarray(i * half, (i + 1) * half);
      const size = Math.max(...scaled.map(Math.abs));
      expect(Math.max(...scaled.map((v, j) => Math.abs(v - mixed[i * half + j]!)))).toBeLessThan(1e-9 * size);
    });
  });

  test('of strength 0 it changes nothing, and another text another thing', () => {
    const other = constant(spread([2, ...network.conditions['text']!], 3), [2, ...network.conditions['text']!]);
    expect(output(against(other, 0, 0))).toEqual(output({}));
    expect(output(against(other, ...strength))).not.toEqual(output(against(given['text']!, ...strength)));
  });
});

test('attention to one word against another is the difference of their values', () => {
  const at = (values: readonly number[], ...shape: number[]): Tensor => constant(Float64Array.from(values), shape);
  const weights: Readonly<Record<string, Tensor>> = {
    'to_q.weight': at([1, 0, 0, 1], 2, 2),
    'to_k.weight': at([0, 1, 1, 0], 2, 2),
    'to_v.weight': at([2, 0, 0, 3], 2, 2),
    'to_out.0.weight': at([1, 0, 0, 1], 2, 2),
    'to_out.0.bias': at([10, 20], 2),
  };
  const scope = Object.assign((name: string) => weights[name]!, { buffer: (name: string) => weights[name]! });
  const against = { context: at([1, 1], 1, 1, 2), mask: undefined, strength: at([0.5], 1, 1, 1, 1) };
  const y = attend(scope, at([7, -3], 1, 1, 2), { heads: 1, headDim: 2, context: at([5, 4], 1, 1, 2), against });
  // (2·5 − 0.5·2·1 + 10, 3·4 − 0.5·3·1 + 20)
  expect([...evaluate([y])[0]!.data]).toEqual([19, 30.5]);
});

test('Flux sees each 2x2 pixels as one token, channel by channel, at places (0, row, column)', () => {
  const network = small('FluxTransformer2DModel');
  const scope = constantScope(weightsOf(network));
  const [h, w] = [4, 6];
  const pixels = Float64Array.from({ length: 4 * h * w }, (_, i) => Math.sin(i));
  const pixel = (c: number, row: number, column: number): number => pixels[(c * h + row) * w + column]!;
  const tokens = Array.from({ length: (h * w) / 4 }, (_, t) => {
    const [row, column] = [2 * Math.floor(t / 3), 2 * (t % 3)];
    return [0, 1, 2, 3].flatMap((c) => [
      pixel(c, row, column),
      pixel(c, row, column + 1),
      pixel(c, row + 1, column),
      pixel(c, row + 1, column + 1),
    ]);
  });
  const conditions = conditionsOf(network, 1);
  const inputs = {
    hidden_states: constant(Float64Array.from(tokens.flat()), [1, 6, 16]),
    timestep: constant(0.25),
    encoder_hidden_states: conditions['text']!,
    pooled_projections: conditions['pooled']!,
    guidance: conditions['guidance']!,
    img_ids: constant(Float64Array.from([0, 1].flatMap((r) => [0, 1, 2].flatMap((c) => [0, r, c]))), [6, 3]),
    txt_ids: constant(new Float64Array(77 * 3), [77, 3]),
  };
  const [theirs, ours] = evaluate([
    network.forward(scope)(inputs).output,
    network.raw(scope)(constant(pixels, [1, 4, h, w]), constant(Float64Array.of(250), [1]), conditions).output,
  ]);
  for (let t = 0; t < 6; t++)
    for (let c = 0; c < 4; c++)
      expect(ours!.data[(c * h + 2 * Math.floor(t / 3)) * w + 2 * (t % 3) + 1]).toBeCloseTo(theirs!.data[t * 16 + 4 * c + 1]!, 9);
});

test('class names: an early class is told by its norm', () => {
  expect(classNameOf('f', { _class_name: 'Transformer2DModel', norm_type: 'ada_norm_single' })).toBe('PixArtTransformer2DModel');
  expect(() => classNameOf('f', { _class_name: 'Transformer2DModel', norm_type: 'layer_norm' })).toThrow(
    /norm_type "layer_norm" is not supported/,
  );
  expect(() => diffusersNetwork('f', {})).toThrow(/class undefined is not a diffusion network/);
});

describe('configurations that are refused', () => {
  const unet = { _class_name: 'UNet2DConditionModel' };
  test.each([
    [{ ...unet, num_attention_heads: 8 }, /num_attention_heads is 8; it must be null/],
    [{ ...unet, dual_cross_attention: true }, /dual_cross_attention is true; it must be false/],
    [{ ...unet, addition_embed_type: 'image' }, /addition_embed_type is "image"; it must be text, text_time or null/],
    [{ ...unet, addition_embed_type: 'text_time' }, /addition_time_embed_dim is null; addition_embed_type "text_time" needs it/],
    [
      { ...unet, encoder_hid_dim_type: 'ip_image_proj', encoder_hid_dim: 8 },
      /encoder_hid_dim_type is "ip_image_proj"; it must be text_proj or null/,
    ],
    [{ ...unet, attention_head_dim: [8, 8] }, /attention_head_dim has 2 entries; there are 4 blocks/],
    [{ ...unet, block_out_channels: [320, 640] }, /down_block_types has 4 entries, block_out_channels has 2/],
    [{ ...unet, transformer_layers_per_block: [1, 2, [1, 2], 1] }, /reverse_transformer_layers_per_block is needed/],
    [{ ...unet, attention_type: 'gated' }, /attention_type is "gated"; it must be default, which alone is supported/],
    [{ ...unet, norm_num_groups: null }, /norm_num_groups is null; it must be a whole number from 1/],
    [{ _class_name: 'UNet2DModel', time_embedding_type: 'learned' }, /num_train_timesteps is null; time_embedding_type learned needs it/],
    [{ _class_name: 'DiTTransformer2DModel', norm_type: 'ada_norm' }, /norm_type is "ada_norm"; it must be ada_norm_zero/],
    [{ _class_name: 'DiTTransformer2DModel', cross_attention_dim: 8 }, /cross_attention_dim is 8; only null is supported/],
    [
      { _class_name: 'SD3Transformer2DModel', caption_projection_dim: 8 },
      /caption_projection_dim is 8; it must be the width, 18 heads of 64/,
    ],
    [
      { _class_name: 'FluxTransformer2DModel', axes_dims_rope: [16, 56] },
      /axes_dims_rope is \[16,56\]; it must be even numbers whose sum is attention_head_dim, 128/,
    ],
    [{ _class_name: 'SanaTransformer2DModel', mlp_ratio: 0 }, /mlp_ratio is 0; it must be a number above 0/],
    [
      { _class_name: 'PixArtTransformer2DModel', num_attention_heads: 4, attention_head_dim: 8 },
      /width of 32 does not split into height, width and aspect ratio/,
    ],
  ])('%j', (json, says) => {
    expect(() => diffusersNetwork('f', json)).toThrow(says);
    expect(() => diffusersNetwork('f', json)).toThrow(InputError);
  });
  test('autoencoders', () => {
    expect(() => readAutoencoderKL('f', { block_out_channels: [8, 8] })).toThrow(
      /down_block_types has 1 entries, block_out_channels has 2/,
    );
    expect(() => readAutoencoderKL('f', { latents_mean: [0] })).toThrow(/latents_mean has 1 entries, latent_channels is 4/);
    expect(() => readAutoencoderTiny('f', { num_encoder_blocks: [1] })).toThrow(/num_encoder_blocks has 1 entries/);
    expect(() => readAutoencoderTiny('f', { upsample_fn: 'bilinear' })).toThrow(/upsample_fn is "bilinear"; it must be nearest/);
  });
});

test.skipIf(!storedFolder('unet2d-fourier'))('a network that is told σ has no scheduler of times', async () => {
  const { network } = await loadNetwork(join(storedFolder('unet2d-fourier')!));
  expect([network.toldSigma, network.classes]).toEqual([true, 0]);
});

/** A linear congruential generator: seeded, so that a failure can be repeated. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
const deep = JSON.parse(`${'['.repeat(2000)}${']'.repeat(2000)}`) as unknown;
const ODD: readonly unknown[] = [
  ...[0, 1, 2, 3, 5, 7, 64, 1e3, 1e6, 1e9, 1e300, -1, 0.5, null, true, false, '', 'x', [], {}, deep, 'NaN'],
  ...[
    [1],
    [2, 2],
    [1, 2, 3],
    [0],
    [-1],
    [1e9],
    [[1]],
    [
      [1, 1],
      [2, 2],
    ],
    new Array(100).fill(1),
    ['DownBlock2D'],
    ['UpBlock2D', 'UpBlock2D'],
  ],
  ...['scale_shift', 'timestep', 'projection', 'text', 'text_time', 'fourier', 'learned', 'identity', 'gelu', 'layer_norm', 'rms_norm'],
];
test('configurations with anything in them are built or refused in one line, quickly', () => {
  const next = generator(11);
  const start = performance.now();
  let refused = 0;
  for (let i = 0; i < 4000; i++) {
    const name = networkNames[next(networkNames.length)]!;
    const keys = Object.keys(SCHEMAS[name]!.shape);
    const config: Record<string, unknown> = { _class_name: name, ...SMALL[name] };
    for (let count = 1 + next(2); count > 0; count--) config[keys[next(keys.length)]!] = ODD[next(ODD.length)];
    try {
      declaredBy('f', diffusersNetwork('f', config));
    } catch (error) {
      refused++;
      if (!(error instanceof InputError) || error.message.includes('\n') || error.message.length > 3000)
        throw new Error(`${i}: ${String(error)} for ${JSON.stringify(config).slice(0, 500)}`, { cause: error });
    }
  }
  expect(refused).toBeGreaterThan(1500);
  expect(refused).toBeLessThan(4000);
  expect(performance.now() - start).toBeLessThan(20_000);
}, 30_000);
