/** @file Suites: what an entry stands for, and one clear line for each mistake. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { packageRoot } from '../../data/artifacts.ts';
import { InputError } from '../../engine/io/errors.ts';
import { perClass } from './benchmark-measure.ts';
import { readSuite, suiteOf } from './benchmark-suite.ts';

describe('suiteOf', () => {
  test('an entry is every combination of what it lists, named by it', () => {
    const { jobs, shared, title } = suiteOf('s', {
      entries: [
        { name: 'teacher', model: 'digit-teacher', sampler: ['heun', 'euler'], steps: [4, 8], guidance: 2 },
        { model: 'runs/student/' },
      ],
    });
    expect(title).toBe('Benchmark');
    expect(shared).toEqual({ reference: 'auto', n: 5000, seed: 0, neighbours: 64, samples: 40, batch: 100, threads: 0, device: 'cpu' });
    expect(jobs.map(({ name }) => name)).toEqual([
      'teacher, heun, 4 steps, guidance 2',
      'teacher, heun, 8 steps, guidance 2',
      'teacher, euler, 4 steps, guidance 2',
      'teacher, euler, 8 steps, guidance 2',
      'student',
    ]);
    expect(jobs.map(({ options }) => options)).toEqual([
      { sampler: 'heun', steps: 4, guidance: 2 },
      { sampler: 'heun', steps: 8, guidance: 2 },
      { sampler: 'euler', steps: 4, guidance: 2 },
      { sampler: 'euler', steps: 8, guidance: 2 },
      {},
    ]);
    expect(jobs.at(-1)).toEqual({ name: 'student', series: 'student', label: '', model: 'runs/student/', options: {} });
  });
  test('several models of an entry are series of their own', () => {
    const { jobs } = suiteOf('s', { entries: [{ name: 'ours', model: ['runs/a', 'runs/b'], steps: 2 }] });
    expect(jobs.map(({ series, label }) => [series, label])).toEqual([
      ['ours a', '2 steps'],
      ['ours b', '2 steps'],
    ]);
  });
  test.each<[string, unknown, RegExp]>([
    ['no mapping', [1], /^s: holds no suite; write entries:/],
    ['nothing', null, /^s: holds no suite/],
    ['an unknown name', { entries: [{ model: 'a' }], neighbors: 3 }, /^s: unknown option neighbors \(did you mean neighbours\?\)$/],
    [
      'an unknown name far from all',
      { entries: [{ model: 'a' }], qqqqqqqqqqqq: 3 },
      /^s: unknown option qqqqqqqqqqqq; there are title, reference/,
    ],
    ['no entries', { n: 3 }, /^s: entries is missing: expected array/],
    ['empty entries', { entries: [] }, /^s: entries is \[\]: Too small/],
    ['a number out of range', { n: 1, entries: [{ model: 'a' }] }, /^s: n is 1: Too small: expected number to be >=2$/],
    ['a fraction', { seed: 0.5, entries: [{ model: 'a' }] }, /^s: seed is 0\.5: expected int/],
    [
      'another reference',
      { reference: 'cifar', entries: [{ model: 'a' }] },
      /^s: reference is "cifar": Invalid option: expected one of "auto"\|"digits"/,
    ],
    ['an entry that is none', { entries: ['a'] }, /^s: entries\[0\] is "a": expected record/],
    ['no model', { entries: [{ model: 'a' }, { steps: 3 }] }, /^s: entries\[1\]: model is missing/],
    [
      'an unknown option of an entry',
      { entries: [{ model: 'a', step: 3 }] },
      /^s: entries\[0\]: unknown option step \(did you mean steps\?\)$/,
    ],
    ['an option of the suite in an entry', { entries: [{ model: 'a', seed: 3 }] }, /^s: entries\[0\]: unknown option seed/],
    [
      'a wrong value',
      { entries: [{ model: 'a', steps: [3, 'many'] }] },
      /^s: entries\[0\]: drawing\.steps: "many" is not a whole number in \[0, 100000\]$/,
    ],
    [
      'a sampler that there is not',
      { entries: [{ model: 'a', sampler: 'hoin' }] },
      /^s: entries\[0\]: drawing\.sampler: "hoin" is not one of auto, /,
    ],
    ['an empty list', { entries: [{ model: 'a', steps: [] }] }, /^s: entries\[0\]: steps is an empty list/],
    ['one job twice', { entries: [{ model: 'a' }, { model: 'x/a' }] }, /^s: a is there twice; leave one out, or give them names$/],
  ])('%s', (_, value, message) => {
    expect(() => suiteOf('s', value)).toThrow(InputError);
    expect(() => suiteOf('s', value)).toThrow(message);
  });
  test('whatever a file holds, a mistake is one line', () => {
    const keys = fc.constantFrom('entries', 'n', 'title', 'seed', 'other', '__proto__');
    const entry = fc.dictionary(fc.constantFrom('model', 'name', 'steps', 'sampler', 'hybrid', 'x'), fc.jsonValue());
    fc.assert(
      fc.property(fc.dictionary(keys, fc.oneof(fc.jsonValue(), fc.array(entry))), (value) => {
        try {
          suiteOf('s', value);
        } catch (error) {
          expect(error).toBeInstanceOf(InputError);
          expect((error as Error).message).not.toContain('\n');
        }
      }),
    );
  });
});

describe('readSuite', () => {
  test('YAML and JSON; a file that is neither, and none', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'suite-'));
    const at = (name: string): string => join(folder, name);
    await writeFile(at('a.yaml'), 'n: 4\nentries:\n  - model: digit-teacher\n    steps: [2, 3]\n');
    await writeFile(at('a.json'), '{"n":4,"entries":[{"model":"digit-teacher","steps":[2,3]}]}');
    expect(await readSuite(at('a.yaml'))).toEqual(await readSuite(at('a.json')));
    await writeFile(at('b.yaml'), 'entries: [\n');
    await expect(readSuite(at('b.yaml'))).rejects.toThrow(/b\.yaml: is no valid YAML: [^\n]+$/);
    await writeFile(at('b.json'), '{');
    await expect(readSuite(at('b.json'))).rejects.toThrow(/b\.json: is no valid JSON: [^\n]+$/);
    await expect(readSuite(at('c.yaml'))).rejects.toThrow(/c\.yaml: cannot read: no such file/);
    await rm(folder, { recursive: true });
  });
});

test("the suite of the documentation is the package's, and sound", async () => {
  const path = join(packageRoot(), 'configs/digits-benchmark.yaml');
  const page = await readFile(join(packageRoot(), 'docs/reports.md'), 'utf8');
  expect(/^```yaml\n([\s\S]*?)^```$/m.exec(page)![1]).toBe(await readFile(path, 'utf8'));
  expect((await readSuite(path)).jobs).toHaveLength(12);
});

test('accuracy by class: the share of its own samples, and nothing for a class without any', () => {
  // Rows of three logits; classes 0, 0, 2, 2, 2 are asked for.
  const logits = Float32Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0);
  expect(perClass(logits, [0, 0, 2, 2, 2], 3)).toEqual([
    { class: '0', n: 2, accuracy: 1 / 2 },
    { class: '2', n: 3, accuracy: 2 / 3 },
  ]);
});
