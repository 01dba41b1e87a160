/** @file Texts of pipelines whose encoders are of several kinds: features beside diffusers' own, and the way from such a pipeline to a finished student. */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { decodeRaw } from '../../data/image.ts';
import { readSafetensors, toFloat32 } from '../../engine/io/safetensors.ts';
import { goldenPath } from '../../engine/testing/golden.ts';
import { attempt } from '../testing/command.ts';
import { loadModel } from './model.ts';
import { openTextEncoder } from './texts.ts';

const root = goldenPath('diffusers/mixed-texts')!;
const scratch = mkdtempSync(join(tmpdir(), 'texts-'));
afterAll(() => rmSync(scratch, { recursive: true }));

/** What the pipelines share, and under which names. */
const SHARED = {
  sd3: { tokenizer: ['tokenizer', 'tokenizer_2'], tokenizer_3: ['tokenizer_3'], text_encoder_3: ['text_encoder_3'], vae: ['vae'] },
  flux: { tokenizer: ['tokenizer'], tokenizer_3: ['tokenizer_2'], text_encoder_3: ['text_encoder_2'], vae: ['vae'] },
} as const;
function pipeline(kind: keyof typeof SHARED, folder = join(scratch, kind)): string {
  cpSync(join(root, kind), folder, { recursive: true });
  for (const [part, names] of Object.entries(SHARED[kind]))
    for (const name of names) cpSync(join(root, part), join(folder, name), { recursive: true });
  return folder;
}
const PROMPTS = ['a photo of a cat', 'a red hat, blue eyes, '.repeat(40), ''];
/** Every so manieth token is stored. */
const STRIDE = 11;
/** A FLUX does not say how large its samples are. */
const SIZE = { sd3: '', flux: ':size=8' } as const;

describe.each([
  ['sd3', { kind: 'sd3', length: 77, t5Length: 256 }, 77 + 256],
  ['flux', { kind: 'flux', length: 77, t5Length: 512 }, 512],
] as const)('%s', (kind, recipe, tokens) => {
  const folder = pipeline(kind);
  const spec = `${folder}${SIZE[kind]}`;

  test('features are those of its pipeline', async () => {
    const model = await loadModel(spec);
    expect(model.card.text).toEqual(recipe);
    expect(model.card.sample.conditions).toEqual({ text: [tokens, 16], pooled: [8] });
    const encoder = await openTextEncoder(folder, model.card.text!);
    const { values, tooLong } = await encoder.encode(PROMPTS).finally(() => encoder.close());
    const { tensors } = await readSafetensors(join(root, `${kind}.safetensors`));
    const stored = toFloat32(tensors.get('text')!);
    const kept = values['text']!.filter((_, i) => (Math.floor(i / 16) % tokens) % STRIDE === 0);
    expect(kept.length).toBe(stored.length);
    const worst = (a: Float32Array, b: Float32Array): number => a.reduce((most, v, i) => Math.max(most, Math.abs(v - b[i]!)), 0);
    expect(worst(kept, stored)).toBeLessThan(1e-4);
    expect(worst(values['pooled']!, toFloat32(tensors.get('pooled')!))).toBeLessThan(1e-5);
    // CLIP reads 77 tokens of the second one; T5 reads as many as it may, and that is too few as well.
    expect(tooLong).toEqual([1]);
    // The null condition is the empty text.
    expect(worst(model.weights.get('null.pooled')!.data, values['pooled']!.subarray(16))).toBe(0);
    expect(model.weights.get('null.guidance')?.data).toEqual(kind === 'flux' ? Float32Array.of(3.5) : undefined);
  });

  test('is distilled by prompts, drawn from and exported', { timeout: 60_000 }, async () => {
    const at = (name: string): string => join(scratch, `${kind}-${name}`);
    writeFileSync(at('prompts.txt'), 'a photo of a cat\na red hat\n');
    const done = async (...words: readonly string[]): Promise<void> => {
      const { code, stderr } = await attempt(...words);
      expect(code, stderr).toBe(0);
    };
    const run = [
      '--steps',
      '2',
      '--batch',
      '2',
      '--teacher-samples',
      '4',
      '--teacher-sample-steps',
      '2',
      '--sample-every',
      '0',
      '--threads',
      '1',
      '--beside',
      '1',
    ];
    await done('distill', 'dmd2', '--teacher', spec, '--prompts', at('prompts.txt'), ...run, '--out', at('run'));
    await done('sample', at('run'), '--prompt', 'a red hat', '--n', '2', '--out', at('a.png'));
    await done('export', at('run'), '--format', 'folder', '--out', at('folder'));
    await done('sample', at('folder'), '--prompt', 'a red hat', '--n', '2', '--out', at('b.png'));
    const [a, b] = [(await decodeRaw(at('a.png'), 3)).data, (await decodeRaw(at('b.png'), 3)).data];
    expect(a.reduce((most, level, i) => Math.max(most, Math.abs(level - b[i]!)), 0)).toBeLessThanOrEqual(1);
    expect(await attempt('export', at('run'), '--format', 'diffusers', '--out', at('pipeline'))).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(
        /^error: export: pipelines of \w+Transformer2DModel are not written; write it as onnx, folder or safetensors instead\n$/,
      ),
    });
  });

  test('a part that is missing is named', async () => {
    const broken = pipeline(kind, join(scratch, `${kind}-broken`));
    rmSync(join(broken, 'text_encoder_2'), { recursive: true });
    await expect(loadModel(`${broken}${SIZE[kind]}`)).rejects.toThrow(/text_encoder_2/);
  });
});
