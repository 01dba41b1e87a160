/** @file The whole command on next to nothing: every stage leaves what the next needs, what is there is not made again, and the published files are used as any model is. */
import { mkdtempSync, readFileSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadModel } from '../../cli/work/model.ts';
import { drawCaptions } from './measure.ts';
import { run } from './run.ts';

test('all stages, twice', { timeout: 180_000 }, async () => {
  const out = mkdtempSync(join(tmpdir(), 'onestep-avatars-'));
  const words = ['--budget', 'tiny', '--out', out, '--threads', '1'];
  await run(words, () => {});
  const { columns } = JSON.parse(readFileSync(join(out, 'results', 'accuracy.json'), 'utf8')) as {
    readonly columns: Readonly<Record<string, { readonly calls: number | null }>>;
  };
  // Heun's two steps from noise to sample are three calls, with guidance six.
  const calls = Object.fromEntries(Object.entries(columns).map(([name, { calls }]) => [name, calls]));
  expect(calls).toEqual({
    ...{ drawings: null, autoencoder: null, teacher: 6, 'one-step-dmd2': 1, 'one-step-cd': 1, 'four-steps-dmd2': 4 },
    ...{ 'dusk teacher': 6, 'dusk-one-step-dmd2': 1 },
  });
  const model = join(out, 'artifacts', 'one-step-dmd2.safetensors');
  const made = statSync(join(out, 'students', 'one-step-dmd2', 'model.safetensors')).mtimeMs;
  const lines: string[] = [];
  await run([...words, '--stage', 'draw,judge,autoencoder,latents,teacher,students'], (line) => lines.push(line));
  expect(lines.filter((line) => !line.endsWith(' is there'))).toEqual([]);
  expect(statSync(join(out, 'students', 'one-step-dmd2', 'model.safetensors')).mtimeMs).toBe(made);
  const { images } = await drawCaptions(await loadModel(model), ['a person with a red hat'], { seed: 0, threads: 1 });
  expect(images.length).toBe(3 * 32 * 32);
  expect(images.every((v) => v >= -1 && v <= 1)).toBe(true);
});
