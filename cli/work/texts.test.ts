/** @file Texts of Stable Diffusion 3 and FLUX against diffusers' own `encode_prompt` and pipelines, and what is refused of them. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { readSafetensors, toFloat32 } from '../../engine/io/safetensors.ts';
import { goldenPath } from '../../engine/testing/golden.ts';
import { expectClose } from '../../engine/testing/parity.ts';
import { loadScheduler } from '../../models/foreign/diffusers/folder.ts';
import { readTextEncoder } from '../../models/foreign/text-encoder.ts';
import { sampler } from '../../samplers/index.ts';
import { loadModel } from './model.ts';
import { textTable } from './prompts.ts';
import { openTrajectories } from './trajectory.ts';

const root = goldenPath('diffusers/texts')!;
const scratch = mkdtempSync(join(tmpdir(), 'texts-'));
afterAll(() => rmSync(scratch, { recursive: true }));

type Name = 'sd3' | 'flux';
/** FLUX's network takes samples of any size. */
const SAID: Readonly<Record<Name, string>> = { sd3: '', flux: ':size=8' };
interface Facts {
  readonly prompts: readonly string[];
  readonly tolerance: Readonly<Record<string, number>>;
  readonly steps: number;
  readonly guidance_scale?: number;
}
async function golden(name: Name) {
  const { tensors } = await readSafetensors(join(root, name, 'golden.safetensors'));
  return {
    facts: JSON.parse(readFileSync(join(root, name, 'golden.json'), 'utf8')) as Facts,
    shape: (of: string): readonly number[] => tensors.get(of)!.shape,
    values: (of: string): Float32Array => toFloat32(tensors.get(of)!),
  };
}
type Json = Record<string, unknown>;
/** A copy of a pipeline with something changed. */
function changed(name: Name, as: string, change: (folder: string) => void): string {
  const folder = join(scratch, as);
  cpSync(join(root, name), folder, { recursive: true });
  change(folder);
  return `${folder}${SAID[name]}`;
}
const edit = (path: string, own: Json): void =>
  writeFileSync(path, JSON.stringify({ ...(JSON.parse(readFileSync(path, 'utf8')) as Json), ...own }));

test.each([
  ['sd3', { kind: 'sd3', length: 77, t5Length: 256 }, '77 tokens of CLIP or the 256 of T5'],
  ['flux', { kind: 'flux', length: 77, t5Length: 512 }, '77 tokens of CLIP or the 512 of T5'],
] as const)('%s: conditions of short, empty and long prompts are those of encode_prompt', async (name, recipe, limit) => {
  const { facts, shape, values } = await golden(name);
  const model = await loadModel(`${join(root, name)}${SAID[name]}`);
  expect(model.card.text).toEqual(recipe);
  const notes: string[] = [];
  const table = await textTable(model, facts.prompts, { threads: 1, onNote: (note) => notes.push(note) });
  expect(notes).toEqual([expect.stringContaining(`a prompt is longer than the ${limit} and cut off there: "a red hat`)]);
  for (const of of ['text', 'pooled']) {
    expect(model.card.sample.conditions![of]).toEqual(shape(of).slice(1));
    const size = values(of).length / facts.prompts.length;
    for (const [i, prompt] of facts.prompts.entries())
      expectClose(
        `${of} of ${JSON.stringify(prompt.slice(0, 9))}`,
        table.row(of, i),
        values(of).subarray(i * size, (i + 1) * size),
        facts.tolerance[of]!,
      );
    // The null condition is the empty text.
    const empty = table.row(of, facts.prompts.indexOf(''));
    expectClose(`null ${of}`, model.weights.get(`null.${of}`)!.data, empty, facts.tolerance[of]!);
  }
});

test('Stable Diffusion 3 without T5 has zeros there', async () => {
  const { facts, values } = await golden('sd3');
  const none = { text_encoder_3: [null, null], tokenizer_3: [null, null] };
  const folder = changed('sd3', 'without', (f) => {
    for (const part of Object.keys(none)) rmSync(join(f, part), { recursive: true });
    edit(join(f, 'model_index.json'), none);
  });
  const model = await loadModel(folder);
  expect(model.card.text).toEqual({ kind: 'sd3-clips', length: 77, t5Length: 256, width: 12 });
  expect(model.card.parts).toEqual(['vae', 'text_encoder', 'tokenizer', 'text_encoder_2', 'tokenizer_2']);
  const table = await textTable(model, facts.prompts.slice(0, 1), { threads: 1 });
  const text = table.row('text', 0);
  // diffusers 0.42.1 gives the same first 77 tokens with and without, and zeros behind them without.
  expectClose('CLIP', text.subarray(0, 77 * 12), values('text').subarray(0, 77 * 12), facts.tolerance['text']!);
  expect(text.length).toBe((77 + 256) * 12);
  expect(text.subarray(77 * 12).every((v) => v === 0)).toBe(true);
  expectClose('pooled', table.row('pooled', 0), values('pooled').subarray(0, 12), facts.tolerance['pooled']!);
});

/** Tokens of 8x8 latents in pairs, and the lowest time of FLUX's list, 1/n. */
const FLUX_STEPS = { tokens: 16, low: 1 / 3 };
test.each([['sd3'], ['flux']] as const)('%s draws from prompts what its pipeline draws', async (name) => {
  const { facts, values } = await golden(name);
  const model = await loadModel(`${join(root, name)}${SAID[name]}`);
  const schedule = await loadScheduler(join(root, name, 'scheduler'));
  const steps = schedule.steps(facts.steps, name === 'flux' ? FLUX_STEPS : {});
  const walk = openTrajectories(model, sampler('euler', {}), { guidance: facts.guidance_scale ?? 1, threads: 1 });
  const { x } = await walk.walk({
    levels: steps.levels,
    end: steps.ends.at(-1)!,
    start: values('start').map((v) => v / schedule.scale(steps.levels[0]!)),
    labels: null,
    conditions: await textTable(model, facts.prompts.slice(0, 2), { threads: 1 }),
    seed: 0,
    first: 0,
    count: 2,
  });
  await walk.close();
  expectClose('latents', x, values('latents'), 1e-4);
});

test('FLUX is told the guidance of its pipeline, where its network has an input for it', async () => {
  const { weights, card } = await loadModel(`${join(root, 'flux')}:size=8`);
  expect(weights.get('null.guidance')).toEqual({ shape: [1], data: Float32Array.of(3.5) });
  expect(JSON.parse(String(card.networkOptions['nulls']))).toEqual({ text: [512, 8], pooled: [6], guidance: [] });
});

test('encoders that are too large for a program are refused before they are read', async () => {
  const folder = join(root, 'sd3', 'text_encoder_3');
  await expect(readTextEncoder(folder, 1000)).rejects.toThrow(
    /text_encoder_3: has \S+ GB of weights in float32, where a program has room for \S+ GB more$/,
  );
  expect((await readTextEncoder(folder, 1e6)).kind).toBe('t5');
});

test.each([
  [
    'sd3',
    'no-tokenizer',
    (f: string) => rmSync(join(f, 'tokenizer_3'), { recursive: true }),
    /no-tokenizer: there is no tokenizer_3, which the pipeline StableDiffusion3Pipeline needs for its texts$/,
  ],
  [
    'flux',
    'no-encoder',
    (f: string) => rmSync(join(f, 'text_encoder_2'), { recursive: true }),
    /no-encoder: there is no text_encoder_2, which the pipeline FluxPipeline needs for its texts$/,
  ],
  [
    'sd3',
    'other-kind',
    (f: string) => cpSync(join(f, 'text_encoder_2'), join(f, 'text_encoder_3'), { recursive: true }),
    /text_encoder_3: is a CLIP; its pipeline has a T5 there$/,
  ],
  [
    'sd3',
    'narrow',
    (f: string) => {
      rmSync(join(f, 'text_encoder_3'), { recursive: true });
      cpSync(join(root, 'flux/text_encoder_2'), join(f, 'text_encoder_3'), { recursive: true });
    },
    /^texts: the two CLIPs give 10 features a token, more than T5's 8$/,
  ],
  [
    'flux',
    'wide',
    (f: string) => {
      rmSync(join(f, 'text_encoder_2'), { recursive: true });
      cpSync(join(root, 'sd3/text_encoder_3'), join(f, 'text_encoder_2'), { recursive: true });
    },
    /wide: the text encoder gives 12 features, FluxTransformer2DModel takes 8$/,
  ],
  [
    'flux',
    'pooled',
    (f: string) => cpSync(join(root, 'sd3/text_encoder'), join(f, 'text_encoder'), { recursive: true }),
    /pooled: the pooled text has 5 features, FluxTransformer2DModel takes 6$/,
  ],
  [
    'flux',
    'other-pipeline',
    (f: string) => edit(join(f, 'model_index.json'), { _class_name: 'FluxInpaintPipeline' }),
    /texts of a FluxInpaintPipeline are not supported yet \(FluxTransformer2DModel with CLIPTextModel\); those of Stable Diffusion 1, 2, XL and 3, of FLUX and of PixArt are$/,
  ],
] as const)('%s, %s: refused in one line', async (name, as, change, message) => {
  await expect(loadModel(changed(name, as, change))).rejects.toThrow(
    expect.objectContaining({ name: 'InputError', message: expect.stringMatching(message) }),
  );
});
