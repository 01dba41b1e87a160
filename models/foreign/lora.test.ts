/** @file Adapters under each naming against stored outputs, fused weights and gradients; every mistake in one line. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { gradients } from '../../engine/graph/gradients.ts';
import { constant, input } from '../../engine/graph/ops/leaf.ts';
import type { Tensor } from '../../engine/graph/tensor.ts';
import { InputError } from '../../engine/io/errors.ts';
import { fromFloat32, readSafetensors, type StoredTensor, toFloat32, writeSafetensors } from '../../engine/io/safetensors.ts';
import { ortRuntime } from '../../engine/run/ort.ts';
import { float32 } from '../../engine/run/runtime.ts';
import { goldenPath } from '../../engine/testing/golden.ts';
import type { Scope } from '../../engine/train/network.ts';
import { constantScope, recordingScope, type Weights } from '../../engine/train/weights.ts';
import { loadNetwork, readConfigFile } from './diffusers/folder.ts';
import { fuseLora, type Lora, loraScope, loraWeights, readLora } from './lora.ts';
import { flatNames, placeOf } from './lora-names.ts';

const scratch = mkdtempSync(join(tmpdir(), 'lora-'));
afterAll(() => rmSync(scratch, { recursive: true }));
const root = goldenPath('diffusers/lora/golden.json')?.replace(/\/golden\.json$/, '');

interface Case {
  readonly name: string;
  readonly file: string;
  readonly outputs: Readonly<Record<string, string>>;
  readonly fused_scale: number;
  readonly fused_output: string;
  readonly fused_weight: { readonly parameter: string; readonly tensor: string };
  readonly gradients?: Readonly<Record<string, string>>;
  readonly gradients_at_scale?: number;
}
const load = async () => {
  const facts = (await readConfigFile(join(root!, 'golden.json'))) as { cases: Case[]; tolerance: Record<string, number> };
  const { tensors } = await readSafetensors(join(root!, 'golden.safetensors'));
  const { network, weights } = await loadNetwork(join(root!, '../pipelines/stable-diffusion/unet'));
  const of = (name: string): Tensor => constant(toFloat32(tensors.get(name)!), tensors.get(name)!.shape);
  const forward = (scope: Scope): Tensor => {
    const inputs = { sample: of('in.sample'), timestep: of('in.timestep'), encoder_hidden_states: of('in.encoder_hidden_states') };
    return network.forward(scope)(inputs).output;
  };
  const excess = (got: ArrayLike<number>, name: string): number => {
    const want = toFloat32(tensors.get(name)!);
    return Math.max(...Array.from(want, (v, i) => Math.abs(got[i]! - v))) / facts.tolerance[name]!;
  };
  return { facts, weights, forward, excess, of };
};
async function run(outputs: Record<string, Tensor>, states: Weights = new Map()) {
  const runtime = ortRuntime({ threads: 1 });
  const held = Object.fromEntries([...states].map(([name, w]) => [`lora/${name}`, float32(w.data, w.shape)]));
  const { program } = await runtime.compile({ program: { outputs, updates: new Map() } }, runtime.state(held));
  try {
    return Object.fromEntries(Object.entries(await program!.run({})).map(([name, t]) => [name, t.data as Float32Array]));
  } finally {
    await program!.close();
  }
}

describe.skipIf(!root)('stored adapters', () => {
  test.each(['peft', 'diffusers-old', 'kohya'])('%s: outputs at two scales, fused weights and their output', async (name) => {
    const { facts, weights, forward, excess } = await load();
    const found = facts.cases.find((c) => c.name === name)!;
    const lora = await readLora(join(root!, found.file), weights);
    expect([lora.modules.length > 30, lora.ofText]).toEqual([true, 0]);
    const base = constantScope(weights);
    for (const [scale, output] of Object.entries(found.outputs)) {
      const { y } = await run({ y: forward(loraScope(base, constantScope(loraWeights(lora)), lora, Number(scale))) });
      expect(excess(y!, output)).toBeLessThanOrEqual(1);
    }
    const merged = fuseLora(weights, lora, found.fused_scale);
    expect(excess(merged.get(found.fused_weight.parameter)!.data, found.fused_weight.tensor)).toBeLessThanOrEqual(1);
    const { y } = await run({ y: forward(constantScope(merged)) });
    expect(excess(y!, found.fused_output)).toBeLessThanOrEqual(1);
  });

  test('gradients in the matrices', async () => {
    const { facts, weights, forward, excess, of } = await load();
    const found = facts.cases.find((c) => c.gradients)!;
    const lora = await readLora(join(root!, found.file), weights);
    const { scope, tensors } = recordingScope('lora');
    const y = forward(loraScope(constantScope(weights), scope, lora, found.gradients_at_scale!));
    const names = Object.keys(found.gradients!);
    const wanted = names.map((name) => tensors.get(name)!);
    const dxs = gradients(y, wanted, of('cotangent'));
    const values = await run(Object.fromEntries(names.map((name, i) => [name, dxs[i]!])), loraWeights(lora));
    for (const [name, stored] of Object.entries(found.gradients!)) expect(excess(values[name]!, stored)).toBeLessThanOrEqual(1);
  });
});

describe('names', () => {
  test.each([
    ['unet.a.to_q.lora_A.weight', { module: 'unet.a.to_q', part: 'down', flat: false }],
    ['base_model.model.a.to_q.lora_B.default.weight', { module: 'base_model.model.a.to_q', part: 'up', flat: false }],
    ['unet.a.attn1.processor.to_out_lora.up.weight', { module: 'unet.a.attn1.to_out.0', part: 'up', flat: false }],
    ['unet.a.to_k.lora_linear_layer.down.weight', { module: 'unet.a.to_k', part: 'down', flat: false }],
    ['lora_unet_a_to_v.alpha', { module: 'lora_unet_a_to_v', part: 'alpha', flat: true }],
    ['lora_unet_a.hada_w1_a', null],
  ])('%s', (name, place) => expect(placeOf(name)).toEqual(place));

  test('blocks of the original code, which kohya writes for SDXL', () => {
    const modules = [
      ...['conv_in', 'time_embedding.linear_2', 'add_embedding.linear_1'],
      ...['down_blocks.0.resnets.0.conv1', 'down_blocks.0.resnets.1.time_emb_proj', 'down_blocks.0.downsamplers.0.conv'],
      ...['down_blocks.1.attentions.0.transformer_blocks.1.attn1.to_q', 'down_blocks.2.attentions.1.proj_in'],
      ...['mid_block.attentions.0.proj_out', 'mid_block.resnets.1.conv2'],
      ...[
        'up_blocks.0.attentions.2.transformer_blocks.0.ff.net.0.proj',
        'up_blocks.0.upsamplers.0.conv',
        'up_blocks.2.resnets.1.conv_shortcut',
      ],
    ];
    const flat = flatNames(modules);
    expect(flat.get('input_blocks_0_0')).toBe('conv_in');
    expect(flat.get('time_embed_2')).toBe('time_embedding.linear_2');
    expect(flat.get('label_emb_0_0')).toBe('add_embedding.linear_1');
    expect(flat.get('input_blocks_1_0_in_layers_2')).toBe('down_blocks.0.resnets.0.conv1');
    expect(flat.get('input_blocks_2_0_emb_layers_1')).toBe('down_blocks.0.resnets.1.time_emb_proj');
    expect(flat.get('input_blocks_3_0_op')).toBe('down_blocks.0.downsamplers.0.conv');
    expect(flat.get('input_blocks_4_1_transformer_blocks_1_attn1_to_q')).toBe('down_blocks.1.attentions.0.transformer_blocks.1.attn1.to_q');
    expect(flat.get('input_blocks_8_1_proj_in')).toBe('down_blocks.2.attentions.1.proj_in');
    expect(flat.get('middle_block_1_proj_out')).toBe('mid_block.attentions.0.proj_out');
    expect(flat.get('middle_block_2_out_layers_3')).toBe('mid_block.resnets.1.conv2');
    expect(flat.get('output_blocks_2_1_transformer_blocks_0_ff_net_0_proj')).toBe(
      'up_blocks.0.attentions.2.transformer_blocks.0.ff.net.0.proj',
    );
    expect(flat.get('output_blocks_2_2_conv')).toBe('up_blocks.0.upsamplers.0.conv');
    expect(flat.get('output_blocks_7_0_skip_connection')).toBe('up_blocks.2.resnets.1.conv_shortcut');
  });
});

describe('adapters made here', () => {
  const filled = (shape: readonly number[], value: number): StoredTensor =>
    fromFloat32(new Float32Array(shape.reduce((n, d) => n * d, 1)).fill(value), shape);
  const weights: Weights = new Map([
    ['a.weight', { shape: [2, 3], data: new Float32Array(6) }],
    ['b.weight', { shape: [2, 3, 1, 1], data: new Float32Array(6) }],
  ]);
  const pair = (module: string, rank = 2): Record<string, StoredTensor> => ({
    [`unet.${module}.lora_A.weight`]: filled([rank, 3], 1),
    [`unet.${module}.lora_B.weight`]: filled([2, rank], 1),
  });
  let count = 0;
  const read = async (tensors: Record<string, StoredTensor>, metadata: Record<string, string> = {}): Promise<Lora> => {
    const path = join(scratch, `${count++}.safetensors`);
    await writeSafetensors(path, tensors, metadata);
    return readLora(path, weights);
  };
  const settings = (entries: object): Record<string, string> => ({ lora_adapter_metadata: JSON.stringify(entries) });

  test('the factor is α over the rank: by tensor, by metadata, by pattern, or 1; and over its root where it is stabilised', async () => {
    const factor = async (...given: Parameters<typeof read>): Promise<number> => (await read(...given)).modules[0]!.factor;
    expect(await factor(pair('a'))).toBe(1);
    expect(await factor({ ...pair('a'), 'unet.a.alpha': filled([], 6) })).toBe(3);
    expect(await factor(pair('a'), settings({ 'unet.lora_alpha': 8 }))).toBe(4);
    expect(await factor(pair('a'), settings({ 'unet.lora_alpha': 8, 'unet.alpha_pattern': { a: 2 } }))).toBe(1);
    expect(await factor(pair('a', 4), settings({ 'unet.lora_alpha': 8, 'unet.use_rslora': true }))).toBe(4);
  });
  test('fused: every entry of a rank-2 product of ones is 2', async () => {
    const merged = fuseLora(weights, await read({ ...pair('a'), ...pair('b') }), 0.5);
    expect([...merged.get('a.weight')!.data, ...merged.get('b.weight')!.data]).toEqual(new Array(12).fill(1));
  });
  test.each([
    [{ ...pair('c') }, {}, /matches no module of the network; it has unet\.c, the network has a, b/],
    [{ ...pair('a'), ...pair('c') }, {}, /the network has no unet\.c/],
    [{ 'unet.a.lora_A.weight': filled([2, 3], 1) }, {}, /a has no up matrix/],
    [{ ...pair('a'), 'unet.a.lora_B.weight': filled([3, 2], 1) }, {}, /a: \[3,2\] times \[2,3\] does not fit the weight \[2,3\]/],
    [{ ...pair('a'), 'unet.a.dora_scale': filled([2], 1) }, {}, /unet\.a\.dora_scale: not a low-rank adapter of a known kind/],
    [{ ...pair('a') }, settings({ 'unet.use_dora': true }), /use_dora is true; adapters with magnitudes are not supported/],
    [{ ...pair('a') }, settings({ 'unet.lora_alpha': 'x' }), /alpha of a is x; it must be a number/],
    [{ ...pair('a') }, { lora_adapter_metadata: '{' }, /lora_adapter_metadata is not JSON/],
    [{ 'text_encoder.a.lora_A.weight': filled([2, 3], 1) }, {}, /matches no module of the network; it has text_encoder\.a/],
  ] as const)('refused %#', async (tensors, metadata, says) => {
    const attempt = read(tensors as Record<string, StoredTensor>, metadata);
    await expect(attempt).rejects.toThrow(says);
    await expect(attempt).rejects.toBeInstanceOf(InputError);
  });
  test('the scale may be a tensor of the graph', () => {
    const { scope } = recordingScope('net');
    const lora: Lora = {
      modules: [
        { module: 'a', down: { shape: [1, 3], data: new Float32Array(3) }, up: { shape: [2, 1], data: new Float32Array(2) }, factor: 1 },
      ],
      ofText: 0,
    };
    expect(loraScope(scope, recordingScope('lora').scope, lora, input('scale', []))('a.weight', [2, 3]).shape).toEqual([2, 3]);
  });
});
