/** @file `onestep report`: what is written of runs that are whole, bare, broken and foreign, and when samples are drawn. */
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pngFacts } from '../../engine/train/logs.ts';
import { elements } from '../../eval/testing/markup.ts';
import { attempt } from '../testing/command.ts';
import { writeTinyRun } from '../testing/tiny.ts';
import { storeEvaluation } from '../work/evaluations.ts';
import { uniqueNames } from '../work/report.ts';

let folder = '';
let out = '';
const at = (name: string): string => join(folder, name);
const line = (step: number) =>
  `${JSON.stringify({ step, nimg: 4 * step, seconds: step, terms: { 'student/loss': 1 / step }, rates: { student: 0.1 }, skipped: 0 })}\n`;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'report-'));
  out = at('report.html');
  const measured = await writeTinyRun(at('measured'), { levels: [80] });
  await writeFile(join(measured, 'config.json'), JSON.stringify({ command: 'distill', method: 'dmd2', data: 'digits', steps: 3, lr: 0.5 }));
  await writeFile(join(measured, 'log.jsonl'), `${line(1)}${line(2)}{"step":2,"scores":{"frechetHeldOut":7}}\n${line(3)}`);
  const evaluation = {
    ...{ n: [500, 8000], seed: 0, sampler: 'student', guidance: 1, nfe: 1, imagesPerSecond: 100, reference: 'digits', floor: 0.5 },
    metrics: { frechet: { value: 3, low: 2.5, high: 3.5 } },
    extractor: 'digit classifier',
    extractorSha256: 'ab'.repeat(32),
    nearest: { index: [0, 1, 2] },
  };
  await storeEvaluation(measured, evaluation, { command: "onestep evaluate '<measured>'", seconds: 0 });
  await cp(measured, at('twin'), { recursive: true });
  await rm(at('twin/evaluations'), { recursive: true });
  await mkdir(at('foreign'));
  await mkdir(at('broken/model.safetensors'), { recursive: true });
  await writeFile(at('broken/config.json'), '{"steps":');
  await writeFile(at('broken/log.jsonl'), Buffer.from([0, 255, 10, 123, 10]));
});
afterAll(() => rm(folder, { recursive: true }));

interface Read {
  readonly rows: { name: string; metrics: object; command: string | null }[];
  readonly runs: { name: string; notes: string[]; command: string | null; scores: object[]; terms: object[] }[];
  readonly samples: { title: string }[];
  readonly neighbours: { title: string }[];
  readonly problems: string[];
  readonly summary: string[];
}
const read = async (): Promise<Read> => JSON.parse(await readFile(at('report.json'), 'utf8')) as Read;

describe('onestep report', () => {
  test('runs with and without evaluations, beside broken and foreign folders', async () => {
    const runs = ['measured', 'twin', 'foreign', 'broken', 'missing'].map(at);
    const { code, stdout, stderr } = await attempt(
      'report',
      ...runs,
      '--out',
      out,
      '--samples',
      '20',
      '--threads',
      '1',
      '--json',
      '--markdown',
    );
    expect([code, stderr]).toEqual([0, '']);
    const said = JSON.parse(stdout) as { html: string; json: string; markdown: string; problems: string[]; runs: number; rows: number };
    expect(said).toMatchObject({ kind: 'report', html: out, json: at('report.json'), markdown: at('report.md'), runs: 3, rows: 2 });
    for (const name of ['foreign', 'missing'])
      expect(said.problems.filter((one) => one.startsWith(`${at(name)}: is no run folder`))).toHaveLength(1);
    expect(said.problems.filter((one) => one.includes(`${at('broken')}/config.json is not valid JSON`))).toHaveLength(1);
    expect(said.problems.every((one) => !one.includes('\n'))).toBe(true);

    const { rows, runs: shown, samples, neighbours, problems, summary } = await read();
    expect(problems).toEqual(said.problems);
    expect(rows.map(({ name }) => name)).toEqual(['measured', 'real images (floor)']);
    expect(rows[0]).toMatchObject({ metrics: { frechet: { value: 3, low: 2.5, high: 3.5 } }, command: "onestep evaluate '<measured>'" });
    expect(shown.map(({ name }) => name)).toEqual(['measured', 'twin', 'broken']);
    expect(shown[0]!.command).toBe(`onestep distill dmd2 --config ${at('measured')} --out ${at('measured')}-again`);
    expect(shown[1]!.notes).toEqual([`No evaluations are stored, so there are curves only; onestep evaluate ${at('twin')} makes one.`]);
    expect(shown[1]!.scores).toEqual([{ name: 'frechetHeldOut', points: [{ images: 8, seconds: 2, value: 7 }] }]);
    expect(summary).toEqual(['Without stored evaluations, so with curves only: twin, broken.']);
    expect(samples.map(({ title }) => title)).toEqual(['measured', 'twin']);
    expect(neighbours.map(({ title }) => title)).toEqual(['measured']);

    const html = await readFile(out, 'utf8');
    elements(html);
    expect(html).toContain('onestep evaluate &#39;&lt;measured&gt;&#39;');
    expect(html).not.toContain('<measured>');
    // The same weights, noise and classes: the same picture.
    const pictures = [...html.matchAll(/<img src="data:image\/png;base64,([^"]*)"[^>]*alt="(\d+ samples of \w+)"/g)];
    expect(pictures.map(([, , alt]) => alt)).toEqual(['20 samples of measured', '20 samples of twin']);
    expect(pictures[0]![1]).toBe(pictures[1]![1]);
    expect(pngFacts(Buffer.from(pictures[0]![1]!, 'base64')).channels).toBe(3);
    expect(await readFile(at('report.md'), 'utf8')).toContain('| measured | 3.000 (2.500 to 3.500) | 1 | 0.01 |');
  });

  test('samples are kept in the run folder, and drawn anew when the weights change', async () => {
    const kept = async (): Promise<string[]> => readdir(at('twin/report'));
    const before = await kept();
    expect(before).toHaveLength(1);
    const { mtimeMs } = await stat(join(at('twin/report'), before[0]!));
    const again = () => attempt('report', at('twin'), '--out', out, '--samples', '20', '--threads', '1');
    expect((await again()).code).toBe(0);
    expect((await stat(join(at('twin/report'), before[0]!))).mtimeMs).toBe(mtimeMs);
    // With another level the same weights make other samples.
    await writeTinyRun(at('twin'), { levels: [40] });
    await again();
    expect(await kept()).toHaveLength(2);
    await attempt('report', at('twin'), '--out', out, '--samples', '10', '--threads', '1');
    expect(await kept()).toHaveLength(3);
  });

  test('an evaluation of another model than the present one is named as such', async () => {
    const note = async (): Promise<string[]> => {
      await attempt('report', at('measured'), '--out', out, '--samples', '0', '--json');
      return (await read()).runs[0]!.notes;
    };
    expect(await note()).toEqual([]);
    await writeTinyRun(at('measured'), { levels: [40] });
    expect(await note()).toEqual([
      `1 of 1 evaluations are of an earlier model of this run; onestep evaluate ${at('measured')} measures the present one.`,
    ]);
  });

  test('--samples 0 draws nothing and leaves folders as they are', async () => {
    const { code, stdout } = await attempt('report', at('measured'), '--out', at('none.html'), '--samples', '0');
    expect(code).toBe(0);
    expect(stdout).toBe(`1 run, 2 measurements: ${at('none.html')}\n`);
    expect(await readFile(at('none.html'), 'utf8')).not.toContain('<img');
    await expect(stat(at('none.json'))).rejects.toThrow('ENOENT');
  });

  test.each([
    [
      'nothing that is a run',
      () => [at('foreign'), '--out', out],
      /^error: report: there is nothing to show: \S+foreign: is no run folder/,
    ],
    ['one run twice', () => [at('twin'), `${at('twin')}/`, '--out', out], /^error: report: \S+twin is given twice/],
    ['no page', () => [at('twin'), '--out', at('report.pdf')], /^error: out: \S+report\.pdf does not end in \.html/],
    [
      'no folder to write into',
      () => [at('twin'), '--out', at('nowhere/report.html')],
      /^error: \S+: cannot write: its folder does not exist/,
    ],
    ['an unknown option', () => [at('twin'), '--sampels', '3'], /unknown option '--sampels'.*--samples/],
  ] as const)('%s: one line', async (_, words, message) => {
    const { code, stderr } = await attempt('report', ...words());
    expect(code).toBe(2);
    if (stderr) expect(stderr).toMatch(message); // commander prints its own before it is caught
    expect(stderr.trim().split('\n').length).toBe(1);
  });
});

test('runs are called by as much of their paths as tells them apart', () => {
  expect(uniqueNames(['runs/a', 'runs/b'])).toEqual(['a', 'b']);
  expect(uniqueNames(['x/run', 'y/run', 'c'])).toEqual(['x/run', 'y/run', 'c']);
});
