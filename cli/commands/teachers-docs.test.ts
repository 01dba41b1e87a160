/** @file The commands of the page about teachers run as they are written, on tiny files of the same kinds. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { toOnnx } from '../../engine/graph/onnx.ts';
import { conv2d } from '../../engine/graph/ops/conv.ts';
import { constant, input } from '../../engine/graph/ops/leaf.ts';
import { goldenPath } from '../../engine/testing/golden.ts';
import { attempt } from '../testing/command.ts';

const root = goldenPath('diffusers/README.md')?.replace(/\/diffusers\/README\.md$/, '');
const scratch = mkdtempSync(join(tmpdir(), 'teachers-'));
afterAll(() => rmSync(scratch, { recursive: true }));

const page = readFileSync(new URL('../../docs/teachers.md', import.meta.url), 'utf8');
const commands = [...page.matchAll(/```console\n(.*?)```/gs)].flatMap((block) => block[1]!.trim().split('\n'));

/** What stands for the files that the page names. */
const STANDS: Readonly<Record<string, string>> = {
  './ddpm-cifar10-32': `${root}/diffusers/pipelines/ddpm`,
  './stable-diffusion-v1-5': `${root}/diffusers/pipelines/stable-diffusion`,
  'edm-cifar10-32x32-cond-vp.pkl': `${root}/edm/vp-ddpmpp.pkl`,
  'style.safetensors@0.7': `${root}/diffusers/lora/kohya.safetensors@0.7`,
};
/** Words without their quotes; what is written goes into the scratch folder. */
const wordsOf = (line: string): string[] =>
  (line.match(/"[^"]*"|\S+/g) ?? [])
    .slice(1)
    .map((word) => word.replaceAll('"', ''))
    .map(
      (word) =>
        STANDS[word] ??
        (/^(runs\/|finished|denoiser|prompts\.txt|[\w-]+\.(png|onnx|safetensors)$)/.test(word) ? join(scratch, word) : word),
    );
const CHEAP: Readonly<Record<string, readonly string[]>> = {
  distill: [
    '--batch',
    '2',
    '--beside',
    '1',
    '--threads',
    '1',
    '--sample-every',
    '0',
    '--teacher-samples',
    '4',
    '--teacher-sample-steps',
    '2',
  ],
  sample: ['--threads', '1'],
};

test.skipIf(!root)(
  'every command runs',
  async () => {
    writeFileSync(join(scratch, 'prompts.txt'), 'a photo of a cat\na red hat\n');
    const eps = conv2d(input('sample', ['N', 3, 8, 8]), constant(new Float32Array(27).fill(0.1), [3, 1, 3, 3]), { groups: 3, padding: 1 });
    writeFileSync(join(scratch, 'denoiser.onnx'), toOnnx({ eps }, { target: 'any' }));
    expect(commands.length).toBeGreaterThan(8);
    for (const line of commands) {
      const words = wordsOf(line);
      const out = words[0] === 'import' ? ['--out', join(scratch, `teacher-${commands.indexOf(line)}`)] : [];
      const { code, stderr } = await attempt(...words, ...out, ...(CHEAP[words[0]!] ?? []));
      expect(code, `${line}\n${stderr}`).toBe(0);
    }
  },
  120_000,
);
