/** @file Evaluations in run folders: kept whole, read back, and what is none is named. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { writeTinyRun } from '../testing/tiny.ts';
import { commandLine, EVALUATIONS, isRunFolder, readEvaluations, storeEvaluation, weightsOfRun } from './evaluations.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'evaluations-'));
});
afterAll(() => rm(folder, { recursive: true }));

describe('storeEvaluation', () => {
  test('what is stored comes back, the oldest first, with the weights that were measured; no other file is left', async () => {
    const run = await writeTinyRun(join(folder, 'run'), { levels: [80] });
    const hour = Date.now() + 3_600_000;
    const made = { command: 'onestep evaluate run', seconds: 2.5 };
    const second = await storeEvaluation(run, { metrics: { frechet: { value: 2 } } }, { ...made, at: new Date(hour + 1000) });
    const first = await storeEvaluation(run, { metrics: { frechet: { value: 1 } } }, { ...made, at: new Date(hour) });
    expect(dirname(first!)).toBe(join(run, EVALUATIONS));
    expect(basename(first!)).toMatch(/^\d{8}T\d{6}Z-[0-9a-f]{8}\.json$/);
    expect((await readdir(join(run, EVALUATIONS))).toSorted()).toEqual([basename(first!), basename(second!)]);
    const { evaluations, problems } = await readEvaluations(run);
    expect(problems).toEqual([]);
    expect(evaluations.map(({ metrics }) => metrics)).toEqual([{ frechet: { value: 1 } }, { frechet: { value: 2 } }]);
    const weights = await weightsOfRun(run);
    const hash = expect.stringMatching(/^[0-9a-f]{64}$/) as string;
    expect(weights).toEqual({ sha256: hash, model: hash, step: 3 });
    expect(evaluations[0]).toMatchObject({ kind: 'evaluation', ...made, at: new Date(hour).toISOString(), weights });
  });
  test('weights that were written while they were measured are not named', async () => {
    const run = await writeTinyRun(join(folder, 'moving'));
    const at = new Date();
    await utimes(join(run, 'model.safetensors'), at, new Date(at.getTime() - 1000));
    await storeEvaluation(run, {}, { command: '', seconds: 10, at });
    expect((await readEvaluations(run)).evaluations[0]!.weights).toBeNull();
  });
  test.each(['digit-teacher', 'missing'])('nothing is kept for %s, which is no folder', async (spec) => {
    expect(await storeEvaluation(spec, {}, { command: '', seconds: 1 })).toBeNull();
  });
  test('nothing is kept in a checkpoint, nor in a folder of pictures', async () => {
    const [checkpoint, pictures] = [join(folder, 'checkpoint'), join(folder, 'pictures')];
    for (const path of [checkpoint, pictures]) await mkdir(path);
    await writeFile(join(checkpoint, 'checkpoint.json'), '{}');
    await writeFile(join(checkpoint, 'model.safetensors'), '');
    for (const path of [checkpoint, pictures]) {
      expect(await isRunFolder(path)).toBe(false);
      expect(await storeEvaluation(path, {}, { command: '', seconds: 1 })).toBeNull();
    }
  });
});

describe('readEvaluations', () => {
  test('files that are none are named one a line, and the others are read', async () => {
    const run = await writeTinyRun(join(folder, 'broken'));
    await storeEvaluation(run, { n: 3 }, { command: 'a', seconds: 1 });
    const odd: Record<string, string> = {
      'a.json': '{"kind":"evaluation"',
      'b.json': '{"kind":"other"}',
      'c.json': 'null',
      'd.json': '\u0000',
    };
    for (const [name, content] of Object.entries(odd)) await writeFile(join(run, EVALUATIONS, name), content);
    await mkdir(join(run, EVALUATIONS, 'e.json'));
    await writeFile(join(run, EVALUATIONS, '.onestep-1.tmp'), 'half');
    const { evaluations, problems } = await readEvaluations(run);
    expect(evaluations.map(({ n }) => n)).toEqual([3]);
    expect(problems).toHaveLength(5);
    for (const problem of problems) expect(problem).toMatch(/^\S+\/evaluations\/[a-e]\.json: is no stored evaluation/);
  });
  test('a run without any has none', async () => {
    const run = await writeTinyRun(join(folder, 'bare'));
    expect(await readEvaluations(run)).toEqual({ evaluations: [], problems: [] });
  });
});

test('a shell reads a command line as the words that it was made of', async () => {
  const words = ['evaluate', 'a b', `it's "$HOME" \`x\``, '', '*', '--n=5', 'ü', 'a\\b', '~'];
  const line = commandLine(words).replace(/^onestep/, 'printf "%s\\n"');
  const { stdout } = await promisify(execFile)('sh', ['-c', line]);
  expect(stdout.split('\n').slice(0, -1)).toEqual(words);
});
