/** @file CLIP against transformers' and open_clip's own outputs and gradients, and what its configurations may not say. */
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { constant, input } from '../../engine/graph/ops/leaf.ts';
import { swapLast } from '../../engine/graph/ops/movement.ts';
import { evaluate } from '../../engine/graph/reference.ts';
import { InputError } from '../../engine/io/errors.ts';
import { readJson } from '../../engine/io/json.ts';
import { readSafetensors } from '../../engine/io/safetensors.ts';
import { openFolderWeights } from '../../engine/io/weights-folder.ts';
import { goldenPath } from '../../engine/testing/golden.ts';
import { mismatches } from '../testing/golden.ts';
import { clip, readClip } from './clip.ts';
import { firstHit, largestId, readClipText } from './clip-text.ts';
import { readWeightsOf } from './hf-weights.ts';
import { openClipModel, openClipTextPrefix, readOpenClip } from './open-clip.ts';
import { storedCase } from './testing/stored.ts';
import { unitRows } from './vit.ts';

const folder = goldenPath('clip/scores.json') && dirname(goldenPath('clip/scores.json')!);
const weightsIn = async (path: string, names?: readonly string[]) => {
  const file = await openFolderWeights(path, names);
  return readWeightsOf(file).finally(() => file.close());
};

describe.skipIf(!folder)('stored values', () => {
  test.each(['tiny-quick-gelu', 'tiny-gelu', 'full-vocab-fp16'])('%s: outputs and gradients', async (name) => {
    const config = readClip(name, await readJson(join(folder!, name, 'config.json')));
    const outputs = ['text_embeds', 'image_embeds', 'logits_per_image', 'logits_per_text', 'text_last_hidden_state', 'text_pooled'].concat([
      'image_last_hidden_state',
      'image_pooled',
      'text_features_unnormalised',
      'image_features_unnormalised',
    ]);
    const { golden, test: stored } = await storedCase(
      join(folder!, `${name}.json`),
      ['pixel_values', 'input_ids', 'attention_mask'],
      outputs,
    );
    const faults = await mismatches(
      golden,
      stored,
      (scope, { pixel_values, input_ids, attention_mask }) => {
        const model = clip(scope, config);
        const [image, text] = [model.image(pixel_values!), model.text(input_ids!, attention_mask!)];
        const logits = model.logits(image.features, text.features);
        return {
          text_embeds: unitRows(text.features),
          image_embeds: unitRows(image.features),
          logits_per_image: logits,
          logits_per_text: swapLast(logits),
          text_last_hidden_state: text.lastHiddenState,
          text_pooled: text.pooled,
          image_last_hidden_state: image.lastHiddenState,
          image_pooled: image.pooled,
          text_features_unnormalised: text.features,
          image_features_unnormalised: image.features,
        };
      },
      { weights: await weightsIn(join(folder!, name)) },
    );
    expect(faults).toEqual([]);
  });

  test('open-clip-tiny: outputs and gradients', async () => {
    const path = join(folder!, 'open-clip-tiny');
    const config = readOpenClip('open_clip', await readJson(join(path, 'open_clip_config.json')));
    const outputs = ['image_features', 'text_features', 'logits_per_image', 'logits_per_text'];
    const { golden, test: stored } = await storedCase(`${path}.json`, ['image', 'ids'], outputs);
    const faults = await mismatches(
      golden,
      { ...stored, cotangents: { image_features: 'cotangent.image', text_features: 'cotangent.text' } },
      (scope, { image, ids }) => {
        const model = openClipModel(scope, config);
        const [images, texts] = [model.image(image!).features, model.text(ids!).features];
        const logits = model.logits(images, texts);
        return { image_features: images, text_features: texts, logits_per_image: logits, logits_per_text: swapLast(logits) };
      },
      { weights: await weightsIn(path, ['open_clip_model']) },
    );
    expect(faults).toEqual([]);
  });
});

test.each(['layer-scale', 'custom-text'])('open_clip with %s: outputs', async (name) => {
  const path = dirname(goldenPath(`open-clip/${name}/open_clip_config.json`)!);
  const config = readOpenClip(name, await readJson(join(path, 'open_clip_config.json')));
  const { tensors } = await readSafetensors(`${path}.safetensors`);
  const weights = await weightsIn(path, ['open_clip_model']);
  // Two float32 runs differ by up to 2e-6; values are of size 1.
  const golden = { facts: { cases: [], tolerance: { image_features: 1e-5, text_features: 1e-5, logits: 1e-4 } }, tensors };
  const same = { image_features: 'image_features', text_features: 'text_features', logits: 'logits' };
  const none = { inputs: {}, parameters: {} };
  const faults = await mismatches(
    golden,
    { name, inputs: { image: 'image', ids: 'ids' }, outputs: same, cotangents: {}, gradients: none },
    (scope, { image, ids }) => {
      const model = openClipModel(scope, config, openClipTextPrefix(weights.keys()));
      const [images, texts] = [model.image(image!).features, model.text(ids!).features];
      return { image_features: images, text_features: texts, logits: model.logits(images, texts) };
    },
    { weights },
  );
  expect(faults).toEqual([]);
});

describe('pooling', () => {
  const ids = input('ids', [4, 4], 'int64');
  const feed = { ids: Float64Array.of(1, 7, 7, 2, 9, 1, 9, 9, 3, 3, 3, 3, 0, 1, 2, 8) };
  const places = (rows: ArrayLike<number>): number[] =>
    [0, 1, 2, 3].map((row) =>
      Array.from(rows)
        .slice(4 * row, 4 * row + 4)
        .indexOf(1),
    );

  test('the largest id where it stands first', () => {
    expect(places(evaluate([largestId(ids)], feed)[0]!.data)).toEqual([1, 0, 0, 3]);
  });
  test('the first hit, or the first place where nothing hits', () => {
    const hits = constant(Float64Array.of(0, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 1), [4, 4]);
    const [weights] = evaluate([firstHit(hits)], {});
    expect(places(weights!.data)).toEqual([1, 0, 0, 3]);
    expect(Array.from(weights!.data).filter((v) => v !== 0)).toEqual([1, 1, 1, 1]);
  });
});

describe('configurations', () => {
  const refused = (json: unknown, message: string): void => {
    expect(() => readClip('config.json', json)).toThrow(InputError);
    expect(() => readClip('config.json', json)).toThrow(message);
  };
  test('defaults are those of the class, and the old *_config_dict replaces its part', () => {
    const { text, vision, projection } = readClip('config.json', {
      projection_dim: 1024,
      text_config: { hidden_size: 256, num_hidden_layers: 24, pruned_heads: {}, num_beams: 1 },
      text_config_dict: { hidden_size: 1024, num_attention_heads: 16 },
      vision_config: { hidden_size: 96 },
      vision_config_dict: null,
    });
    // transformers 5.23.0: CLIPConfig of the same dictionaries.
    expect([text.hidden_size, text.num_attention_heads, text.num_hidden_layers, text.eos_token_id]).toEqual([1024, 16, 12, 49407]);
    expect([vision.hidden_size, vision.patch_size, projection]).toEqual([96, 32, 1024]);
  });
  test('what would change the function is refused by name', () => {
    refused({ text_config: { rope_theta: 1 } }, 'config.json: text_config: unknown keys rope_theta');
    refused({ vision_config: { hidden_act: 'swiglu' } }, 'config.json: vision_config: hidden_act is "swiglu"; it must be one of gelu, ');
    refused({ model_type: 'blip' }, 'config.json: model_type is "blip"; it must be clip, which alone is supported');
    refused({ quantization_config: {} }, 'unknown keys quantization_config');
    refused({ text_config: { hidden_size: 10 } }, 'hidden_size 10 does not split into num_attention_heads 8');
    refused({ vision_config: { pruned_heads: { 0: [1] } } }, 'heads were cut out');
    refused(
      { text_config: { num_hidden_layers: 1e9 } },
      'text_config: num_hidden_layers is 1000000000; it must be a whole number from 0 to 65536',
    );
    refused({ vision_config: { image_size: [224, 1e9] } }, 'image_size is [224,1000000000]; at most 16384');
    refused([], 'config.json: the configuration is []; it must be a JSON object');
    refused({ text_config: 3 }, 'config.json: text_config is 3; it must be an object');
    expect(() => readClipText('c', { eos_token_id: [2, 3] })).toThrow('c: eos_token_id is [2,3]');
    expect(() => readOpenClip('c', { model_cfg: { text_cfg: { hf_model_name: 'roberta' } } })).toThrow('hf_model_name is "roberta"');
    expect(() => readOpenClip('c', { model_cfg: { vision_cfg: { attentional_pool: true } } })).toThrow('attentional_pool');
  });
  test("the text tower's place is told by the names", () => {
    expect(openClipTextPrefix(['visual.proj', 'text.ln_final.weight'])).toBe('text.');
    expect(openClipTextPrefix(['visual.proj', 'text_projection'])).toBe('');
  });
});
