/** @file SigLIP, DINOv2, T5 and the text encoders of pipelines against transformers' own outputs and gradients, and closed forms of their parts. */
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { sigmoid } from '../../engine/graph/ops/elementwise.ts';
import { constant, input } from '../../engine/graph/ops/leaf.ts';
import { swapLast } from '../../engine/graph/ops/movement.ts';
import { evaluate } from '../../engine/graph/reference.ts';
import { readJson } from '../../engine/io/json.ts';
import { openFolderWeights } from '../../engine/io/weights-folder.ts';
import { goldenPath } from '../../engine/testing/golden.ts';
import { checkWeights, recordingScope, type Weights } from '../../engine/train/weights.ts';
import { type Forward, mismatches, readGolden } from '../testing/golden.ts';
import { resizeAntialiased } from './antialias.ts';
import { clipTextEncoder, readClipText, textLayout } from './clip-text.ts';
import { dinov2, dinov2Names, isDinov2Weight, readDinov2 } from './dinov2.ts';
import { readWeightsOf } from './hf-weights.ts';
import { readSiglip, siglip } from './siglip.ts';
import { isT5EncoderWeight, readT5, relativeBucket, t5Encoder, t5Table } from './t5.ts';
import { storedCase } from './testing/stored.ts';
import { readTextEncoder } from './text-encoder.ts';
import { unitRows } from './vit.ts';

const folderOf = (name: string): string => dirname(goldenPath(`transformers/${name}/config.json`)!);
const configOf = (name: string): Promise<unknown> => readJson(join(folderOf(name), 'config.json'));
async function weightsOf(folder: string, keep?: (name: string) => boolean): Promise<Weights> {
  const file = await openFolderWeights(folder);
  return readWeightsOf(file, keep).finally(() => file.close());
}
async function faultsOf(name: string, inputs: readonly string[], outputs: readonly string[], forward: Forward, weights: Weights) {
  const { golden, test: stored } = await storedCase(`${folderOf(name)}.json`, inputs, outputs);
  return mismatches(golden, stored, forward, { weights });
}
const renamed = (weights: Weights, rename: (name: string) => string): Weights =>
  new Map([...weights].map(([name, w]) => [rename(name), w]));

test('SigLIP: outputs, probabilities and gradients', async () => {
  const config = readSiglip('siglip', await configOf('siglip'));
  const outputs = ['logits_per_image', 'logits_per_text', 'image_embeds', 'text_embeds', 'probabilities'].concat([
    'image_last_hidden_state',
    'text_last_hidden_state',
  ]);
  const forward: Forward = (scope, { input_ids, pixel_values, attention_mask }) => {
    const model = siglip(scope, config);
    const [image, text] = [model.image(pixel_values!), model.text(input_ids!, attention_mask!)];
    const logits = model.logits(image.features, text.features);
    return {
      logits_per_image: logits,
      logits_per_text: swapLast(logits),
      image_embeds: unitRows(image.features),
      text_embeds: unitRows(text.features),
      probabilities: sigmoid(logits),
      image_last_hidden_state: image.lastHiddenState,
      text_last_hidden_state: text.lastHiddenState,
    };
  };
  const weights = await weightsOf(folderOf('siglip'));
  expect(await faultsOf('siglip', ['input_ids', 'pixel_values', 'attention_mask'], outputs, forward, weights)).toEqual([]);
});

describe('DINOv2', () => {
  const forwardOf = async (name: string, weights: Weights): Promise<Forward> => {
    const config = readDinov2(name, await configOf(name));
    return (scope, { pixel_values }) => {
      const { lastHiddenState, pooled } = dinov2(scope, config, dinov2Names(weights.keys()))(pixel_values!);
      return { last_hidden_state: lastHiddenState, pooler_output: pooled };
    };
  };
  const outputs = ['last_hidden_state', 'pooler_output'];
  test.each(['dinov2', 'dinov2-swiglu', 'dinov2-registers'])('%s: outputs and gradients', async (name) => {
    const weights = await weightsOf(folderOf(name), isDinov2Weight);
    expect(await faultsOf(name, ['pixel_values'], outputs, await forwardOf(name, weights), weights)).toEqual([]);
  });
  test('the names inside transformers 5 mean the same', async () => {
    const names: readonly (readonly [string, string])[] = [
      ['attention.attention.query', 'attention.q_proj'],
      ['attention.attention.key', 'attention.k_proj'],
      ['attention.attention.value', 'attention.v_proj'],
      ['attention.output.dense', 'attention.o_proj'],
      ['mlp.weights_out', 'mlp.down_proj'],
    ];
    const published = await weightsOf(folderOf('dinov2-swiglu'), isDinov2Weight);
    const weights = new Map(renamed(published, (name) => names.reduce((n, [from, to]) => n.replace(from, to), name)));
    for (const [name, { shape, data }] of published) {
      if (!name.includes('weights_in')) continue;
      const half = [shape[0]! / 2, ...shape.slice(1)];
      weights.delete(name);
      weights.set(name.replace('weights_in', 'gate_proj'), { shape: half, data: data.slice(0, data.length / 2) });
      weights.set(name.replace('weights_in', 'up_proj'), { shape: half, data: data.slice(data.length / 2) });
    }
    expect(await faultsOf('dinov2-swiglu', ['pixel_values'], outputs, await forwardOf('dinov2-swiglu', weights), weights)).toEqual([]);
  });
  test('smoothing keeps what is even, and is interpolation with a = −1/2 where it enlarges', () => {
    const even = evaluate([resizeAntialiased(constant(new Float64Array(35).fill(3), [1, 1, 5, 7]), [3, 11])], {})[0]!;
    expect(Math.max(...Array.from(even.data).map((v) => Math.abs(v - 3)))).toBeLessThan(1e-12);
    // Twice as many points: between 0, 1, 2, 3 a quarter of the way from 1 to 2 a cubic with a = −1/2 reproduces the line.
    const line = evaluate([resizeAntialiased(constant(Float64Array.of(0, 1, 2, 3), [1, 1, 1, 4]), [1, 8])], {})[0]!;
    expect(line.data[3]).toBeCloseTo(1.25, 12);
  });
});

describe('T5', () => {
  test.each(['t5-gated', 't5-relu', 'umt5'])('%s: outputs and gradients', async (name) => {
    const folder = folderOf(name);
    const config = readT5(name, await configOf(name));
    const file = await openFolderWeights(folder);
    const table = t5Table(file.names);
    const weights = await readWeightsOf(file, (n) => isT5EncoderWeight(n, table)).finally(() => file.close());
    const forward: Forward = (scope, { input_ids, attention_mask }) => t5Encoder(scope, config, table)(input_ids!, attention_mask!);
    expect(await faultsOf(name, ['input_ids', 'attention_mask'], ['last_hidden_state'], forward, weights)).toEqual([]);
  });
  test('buckets: exact near by, logarithmic to the most, the other half ahead', () => {
    const row = (distances: readonly number[]): readonly number[] => distances.map((d) => relativeBucket(d, 32, 128));
    // 32 buckets, 16 a side, 8 exact; then ⌊8 + 8·ln(d/8)/ln(16)⌋, at most 15.
    expect(row([0, -1, -7, -8, -15, -16, -31, -32, -64, -127, -128, -999])).toEqual([0, 1, 7, 8, 9, 10, 11, 12, 14, 15, 15, 15]);
    expect(row([1, 7, 8, 16, 1000])).toEqual([17, 23, 24, 26, 31]);
  });
  test('the token table has one of two names, and a decoder is left out', () => {
    expect(t5Table(['encoder.embed_tokens.weight', 'shared.weight'])).toBe('shared.weight');
    expect(t5Table(['encoder.embed_tokens.weight'])).toBe('encoder.embed_tokens.weight');
    const kept = ['shared.weight', 'encoder.embed_tokens.weight', 'encoder.final_layer_norm.weight', 'decoder.final_layer_norm.weight'];
    expect(kept.filter((name) => isT5EncoderWeight(name, 'shared.weight'))).toEqual(['shared.weight', 'encoder.final_layer_norm.weight']);
  });
  test('a feed-forward that is not known is refused', () => {
    expect(() => readT5('config.json', { feed_forward_proj: 'gated-swiglu' })).toThrow('config.json: feed_forward_proj is "gated-swiglu"');
    expect(() => readT5('config.json', { rope: true })).toThrow('config.json: unknown keys rope');
  });
});

describe('text encoders of pipelines', () => {
  const forwardOf =
    (json: unknown, weights: Weights, roles: Readonly<Record<string, 'lastHiddenState' | 'penultimate' | 'pooled'>>): Forward =>
    (scope, { input_ids }) => {
      const made = clipTextEncoder(scope, readClipText('text_encoder', json), textLayout(weights.keys()))(input_ids!);
      return Object.fromEntries(Object.entries(roles).map(([role, key]) => [role, made[key]]));
    };
  test('CLIPTextModelWithProjection', async () => {
    const weights = await weightsOf(folderOf('clip-text-projection'));
    const roles = { text_embeds: 'pooled', last_hidden_state: 'lastHiddenState', penultimate: 'penultimate' } as const;
    const forward = forwardOf(await configOf('clip-text-projection'), weights, roles);
    expect(await faultsOf('clip-text-projection', ['input_ids'], Object.keys(roles), forward, weights)).toEqual([]);
  });

  test.each(['clip-text-projection', 't5-gated', 'umt5'])('a folder of %s builds with the weights that it holds', async (name) => {
    const { kind, context, weights, build } = await readTextEncoder(folderOf(name));
    const { scope, declared } = recordingScope('net');
    const made = build(scope)(input('ids', ['N', 12], 'int64'));
    checkWeights(name, declared.values(), weights);
    expect([kind, context]).toEqual(kind === 'clip' ? ['clip', 12] : ['t5', Number.POSITIVE_INFINITY]);
    expect(made.lastHiddenState.shape).toEqual(['N', 12, 16]);
    expect(made.pooled?.shape).toEqual(kind === 'clip' ? ['N', 10] : undefined);
  });
  test('a folder of another network is refused', async () => {
    await expect(readTextEncoder(folderOf('dinov2'))).rejects.toThrow(
      'model_type is "dinov2"; one of clip, clip_text_model, t5, umt5 expected',
    );
    await expect(readTextEncoder('nowhere')).rejects.toThrow('nowhere/config.json: cannot read: no such file');
  });

  const pipelines = goldenPath('diffusers/README.md') && dirname(goldenPath('diffusers/README.md')!);
  const roles = { last_hidden_state: 'lastHiddenState', pooler_output: 'pooled', penultimate: 'penultimate' } as const;
  test.skipIf(!pipelines).each(['text_model.', ''])('CLIPTextModel with names led by "%s"', async (prefix) => {
    const stored = await readGolden(join(pipelines!, 'pipelines/stable-diffusion/text-encoder-golden.json'));
    const [first] = stored.facts.cases;
    const parameters = Object.fromEntries(Object.entries(first!.gradients.parameters).map(([name, t]) => [`${prefix}${name}`, t]));
    const folder = join(pipelines!, 'pipelines/stable-diffusion/text_encoder');
    const weights = renamed(await weightsOf(folder), (name) => name.replace('text_model.', prefix));
    const forward = forwardOf(await readJson(join(folder, 'config.json')), weights, roles);
    const faults = await mismatches(stored, { ...first!, gradients: { inputs: {}, parameters } }, forward, { weights });
    expect(faults).toEqual([]);
  });
  test.skipIf(!pipelines)('weights in several files', async () => {
    const folder = join(pipelines!, 'safetensors/sharded-transformers');
    const stored = await readGolden(join(folder, 'golden.json'));
    const weights = await weightsOf(folder);
    const forward = forwardOf(await readJson(join(folder, 'config.json')), weights, { last_hidden_state: 'lastHiddenState' });
    expect(await mismatches(stored, stored.facts.cases[0]!, forward, { weights })).toEqual([]);
  });
});
