/** @file The plan of the results, their tables and curves; with ONESTEP_PROOF the whole way on a tiny model, which takes minutes. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { tinyModel } from '../../cli/testing/tiny.ts';
import { allMethods } from '../../cli/work/methods.ts';
import { saveModel } from '../../cli/work/model.ts';
import { decodeRaw } from '../../data/image.ts';
import type { Loss } from '../../engine/train/loss.ts';
import { elements } from '../../eval/testing/markup.ts';
import { renderPanels } from './curves.ts';
import { bestOf, chosenMethods, estimate, longJobs, sweepJobs } from './jobs.ts';
import { curveOf, isDone, type Row, readRow, readRows, trainingSeconds, writeRow } from './record.ts';
import { solverOf } from './references.ts';
import { writeReport, writeSummary } from './report.ts';
import { readSettings, settingsOf } from './settings.ts';
import { long, sweep } from './stages.ts';
import { tableOf } from './table.ts';

let folder = '';
let methods: readonly Loss[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'results-'));
  methods = await allMethods();
});
afterAll(() => rm(folder, { recursive: true }));

const ORIGINS = { teacher: 'aa', start: 'bb', card: null };
const scores = (heldOut: number) => ({ heldOut, training: heldOut / 2, precision: 0.5, recall: 0.25, classAccuracy: 0.9 });
const row = (id: string, more: Partial<Row> = {}): Row => ({
  stage: 'sweep',
  id,
  title: id,
  reference: '2405.14867',
  settings: {},
  evaluations: 1,
  samples: 100,
  scores: scores(1),
  few: null,
  training: { steps: 10, images: 640, cpuSeconds: 8, parameters: 295_264, curve: [] },
  failure: null,
  ...more,
});

describe('settings', () => {
  test('the ones of the project name methods and options that there are, for every method', async () => {
    const settings = await readSettings('configs/results.json');
    const chosen = chosenMethods(methods, [], settings);
    expect(chosen.map(({ name }) => name)).toEqual(methods.map(({ name }) => name).filter((name) => name !== 'edm'));
    const jobs = sweepJobs(chosen, settings, ORIGINS);
    for (const { plan } of jobs) expect(Math.abs(plan.run.steps * plan.run.batch - settings.images)).toBeLessThanOrEqual(plan.run.batch);
    expect(jobs.find(({ id }) => id === 'kd')!.needsPairs).toBe(true);
  });

  test('a method goes before its recommendation, that before the options of all', () => {
    const settings = settingsOf('test', { options: { lr: 1, beta1: 0.3, clip: 7 }, methods: { scm: { beta1: 0.4 } } });
    const [job] = sweepJobs(chosenMethods(methods, ['scm'], settings), settings, ORIGINS);
    const recommended = methods.find(({ name }) => name === 'scm')!.recommended!;
    expect(job!.plan.flat).toMatchObject({ lr: recommended['lr'], beta1: 0.4, clip: 7 });
  });

  test('mistakes are one line', async () => {
    expect(() => settingsOf('f.json', { imges: 3 })).toThrow('f.json: unknown option imges');
    expect(() => settingsOf('f.json', { images: 0 })).toThrow('f.json.images: 0 is not a whole number');
    expect(() => settingsOf('f.json', { methods: { dmd2: 3 } })).toThrow('f.json: dmd2 is 3; options by their names are needed');
    expect(() => chosenMethods(methods, ['dmd3'], settingsOf('f', {}))).toThrow('results: there is no method dmd3');
    await expect(readSettings('missing.json')).rejects.toThrow('results: cannot read missing.json (ENOENT)');
  });
});

describe('jobs', () => {
  const settings = settingsOf('test', { images: 6400, longImages: 12_800, best: 1, imagesPerSecond: 64 });
  const jobs = () => sweepJobs(chosenMethods(methods, ['ect', 'kd'], settings), settings, ORIGINS);

  test('a row is made again for other weights, images or options, and where it failed; a done one takes no time', () => {
    const [ect] = jobs();
    const done = row('ect', { settings: ect!.settings });
    expect(isDone(done, ect!.settings)).toBe(true);
    expect(isDone({ ...done, failure: 'x' }, ect!.settings)).toBe(false);
    const { device: _, ...earlier } = ect!.settings;
    expect(isDone(row('ect', { settings: earlier }), ect!.settings, ect!.usual)).toBe(true);
    expect(isDone(row('ect', { settings: earlier }), { ...ect!.settings, device: 'cuda' }, ect!.usual)).toBe(false);
    expect(isDone(row('ect', { settings: { ...earlier, gone: 1 } }), ect!.settings, ect!.usual)).toBe(false);
    expect(isDone(done, sweepJobs([ect!.loss], settings, { ...ORIGINS, teacher: 'cc' })[0]!.settings)).toBe(false);
    expect(isDone(done, sweepJobs([ect!.loss], { ...settings, options: { clip: 3 } }, ORIGINS)[0]!.settings)).toBe(false);
    expect(estimate(ect!, done, settings)).toBe(0);
    // 6,400 images at the 64 a second that are expected, or at the 160 that were measured with other settings, 80 a core; the rest is the same.
    const other = estimate(ect!, row('ect', { settings: { lr: 9 } }), settings);
    expect(estimate(ect!, null, settings) - other).toBeCloseTo(100 - 40, 9);
  });

  test('the long runs are of the best row, from the teacher itself', () => {
    const rows = [row('kd', { scores: scores(3) }), row('ect', { scores: scores(2) }), row('scm', { scores: null, failure: 'x' })];
    expect(bestOf(rows).map(({ id }) => id)).toEqual(['ect', 'kd']);
    const [job, ...more] = longJobs(methods, rows, settings, ORIGINS);
    expect(more).toEqual([]);
    expect(job).toMatchObject({ id: 'ect', stage: 'long', start: '', plan: { run: { steps: 200, batch: 64 } } });
    expect(job!.settings).not.toHaveProperty('start');
  });

  test("the teacher's evaluations: odd numbers are Heun's, even ones and one Euler's", () => {
    expect([1, 2, 35].map(solverOf)).toEqual([
      { sampler: 'euler', steps: 1 },
      { sampler: 'euler', steps: 2 },
      { sampler: 'heun', steps: 18 },
    ]);
  });
});

describe('records', () => {
  const step = (n: number, seconds: number) => ({
    step: n,
    nimg: 8 * n,
    seconds: 2 * seconds,
    cpuSeconds: seconds,
    terms: {},
    rates: {},
    skipped: 0,
  });
  const log = [
    step(1, 3),
    step(2, 4),
    { step: 2, scores: { frechetHeldOut: 9, frechetTraining: 8 } },
    step(3, 60),
    step(4, 61),
    { step: 4, scores: { frechetHeldOut: 7, frechetTraining: null } },
  ];

  test('seconds of training leave evaluations out', () => {
    // The plain intervals take 3, 1 and 1 seconds; the one with the evaluation counts as their median.
    expect([...trainingSeconds(log)]).toEqual([
      [1, 3],
      [2, 4],
      [3, 5],
      [4, 6],
    ]);
    expect(curveOf(log, 8)).toEqual([{ images: 16, cpuSeconds: 4, heldOut: 9, training: 8 }]);
  });

  test('an evaluation beside the steps disturbs all of them, up to the first line after it', () => {
    // It begins after step 2 and ends between 4 and 5; the plain intervals are those of 1, 2 and 6.
    const beside = [step(1, 3), step(2, 4), step(3, 9), step(4, 14), { step: 2, scores: {} }, step(5, 20), step(6, 21)];
    expect([...trainingSeconds(beside).values()]).toEqual([3, 4, 5, 6, 7, 8]);
    // Evaluations whose number comes after the last step.
    expect([...trainingSeconds([step(1, 1), step(2, 2), step(3, 8), { step: 2, scores: {} }]).values()]).toEqual([1, 2, 3]);
  });

  test('a row comes back with six digits of what was measured and all of its settings', async () => {
    await mkdir(join(folder, 'sweep'));
    await writeRow(folder, row('b', { scores: scores(1 / 3), settings: { lr: 1 / 3 } }));
    await writeRow(folder, row('a'));
    expect((await readRows(folder, 'sweep')).map(({ id }) => id)).toEqual(['a', 'b']);
    expect(await readRow(folder, { stage: 'sweep', id: 'b' })).toMatchObject({ scores: { heldOut: 0.333333 }, settings: { lr: 1 / 3 } });
    expect(await readRow(folder, { stage: 'long', id: 'b' })).toBeNull();
  });
});

test('the table: the real images, the teacher, methods by distance, failures with their reason', () => {
  const reference = (id: string, evaluations: number | null): Row =>
    row(id, { stage: 'reference', evaluations, training: null, reference: null });
  const table = tableOf(
    [reference('few', 2), reference('real', null), reference('many', 35)],
    [row('broken', { scores: null, training: null, evaluations: null, failure: 'a | b' }), row('far', { scores: scores(20) }), row('near')],
  ).split('\n');
  expect(table.slice(2).map((line) => line.split(' | ')[0])).toEqual([
    '| real',
    '| many',
    '| few',
    ...['near', 'far', 'broken'].map((name) => `| [${name}](https://arxiv.org/abs/2405.14867)`),
  ]);
  expect(table[5]).toContain('| 1.000 | 0.500 | 0.500 | 0.250 | 0.900 | 1 | 640 | 8 | 0.30 M |');
  expect(table.at(-1)).toContain('| failed: a / b |');
  expect(new Set(table.map((line) => line.split('|').length)).size).toBe(1);
});

describe('curves', () => {
  const panels = Array.from({ length: 31 }, (_, i) => ({
    name: `m<${i}>`,
    points: [1, 2, 3].map((k) => [k * 1e4, (50 + i) / k] as const),
  }));

  test('a chart for each method, well formed, all on the same axes', () => {
    const svg = renderPanels({ title: 'a & b', x: 'images', y: 'distance', panels, levels: [{ name: 'teacher', y: 10 }] });
    const found = elements(svg);
    expect(found[0]).toBe('svg');
    expect(svg.match(/class="own"/g)!.length).toBe(31);
    expect(svg.match(/class="far"/g)!.length).toBe(31 * 30);
    expect(svg.match(/class="level"/g)!.length).toBe(31);
    const numbers = [...svg.matchAll(/(?:viewBox="0 0 |cx=")([\d.]+)/g)].map((m) => Number(m[1]));
    expect(Math.max(...numbers.slice(1))).toBeLessThan(numbers[0]!);
  });

  test('positions are logarithmic: equal ratios are equal distances', () => {
    const svg = renderPanels({
      title: 't',
      x: 'x',
      y: 'y',
      panels: [
        {
          name: 'p',
          points: [
            [1, 1],
            [10, 10],
            [100, 100],
          ],
        },
      ],
      levels: [],
    });
    const [a, b, c] = [...svg.matchAll(/cx="([\d.]+)" cy="([\d.]+)"/g)].map((m) => [Number(m[1]), Number(m[2])] as const);
    expect(b![0] - a![0]).toBeCloseTo(c![0] - b![0], 0);
    expect(a![1] - b![1]).toBeCloseTo(b![1] - c![1], 0);
    expect(a![1]).toBeGreaterThan(c![1]);
  });

  test('what has no place on the axes is left out, and nothing at all is said', () => {
    const nothing = {
      name: 'none',
      points: [
        [1, Number.NaN],
        [0, 1],
      ] as const,
    };
    expect(renderPanels({ title: 't', x: 'x', y: 'y', panels: [nothing], levels: [] })).toContain('No values to show.');
  });
});

test('the table of the methods stands where their page has a place for it', async () => {
  const about = join(folder, 'methods.md');
  const results = join(import.meta.dirname, '../../docs/results/fashion-mnist');
  await writeFile(about, 'before <!-- measured: npm run results -- report -->\nold\n<!-- end -->\nafter\n');
  await writeSummary(about, results);
  const summary = await readFile(about, 'utf8');
  expect(summary).toMatch(/^before <!-- [^\n]*\n\n\| method \|.*\| `kd` \| \d+\.\d\d \|.*\n\n<!-- end -->\nafter\n$/s);
  expect(summary).not.toContain('old');
  await writeFile(about, 'no place');
  await expect(writeSummary(about, results)).rejects.toThrow('has no lines');
});

test.skipIf(!process.env['ONESTEP_PROOF'])(
  'the whole way: a method, a failure, a second look, long runs, the page',
  { timeout: 900_000 },
  async () => {
    const [results, work] = [join(folder, 'out'), join(folder, 'work')];
    for (const stage of ['reference', 'sweep', 'long']) await mkdir(join(results, stage), { recursive: true });
    await mkdir(work);
    const { card, weights } = tinyModel();
    const model = join(folder, 'tiny.safetensors');
    await saveModel(model, card, weights);
    const settings = settingsOf('test', {
      data: 'digits',
      teacher: model,
      start: model,
      images: 48,
      longImages: 16,
      best: 1,
      samples: 40,
      points: 2,
      pointSamples: 20,
      pairs: 16,
      pairLevels: 2,
      evaluations: [3],
      threads: 1,
      options: { batch: 8 },
      methods: { dmd2: { taps: ['nothing'] } },
    });
    const said: string[] = [];
    const context = {
      settings,
      origins: ORIGINS,
      places: { results, work },
      methods: chosenMethods(methods, ['dmd2', 'kd'], settings),
      dry: false,
      say: (line: string) => void said.push(line),
    };
    await sweep(context);
    expect(await readRow(results, { stage: 'sweep', id: 'dmd2' })).toMatchObject({
      scores: null,
      failure: expect.stringContaining('no hidden map nothing'),
    });
    const kd = (await readRow(results, { stage: 'sweep', id: 'kd' }))!;
    expect(kd).toMatchObject({ evaluations: 1, failure: null, training: { steps: 6, images: 48 } });
    expect(kd.training!.curve.map(({ images }) => images)).toEqual([24, 48]);
    await long(context);
    expect((await readRows(results, 'long')).map(({ id }) => id)).toEqual(['kd', 'kd-seed-1']);
    said.length = 0;
    await sweep({ ...context, methods: context.methods.filter(({ name }) => name === 'kd') });
    expect(said).toEqual(['sweep 1/1 kd: is there']);
    await writeReport(results, settings, ['kd', 'sid', 'dmd2', 'ect']);
    const page = await readFile(join(results, 'README.md'), 'utf8');
    expect(page).toContain('| teacher, heun |');
    expect(page).toContain('Not measured yet: sid, ect.');
    // Real digits, the teacher and one student, ten classes at twice their size.
    const { height } = await decodeRaw(join(results, 'sweep-samples.png'));
    expect(height).toBe(3 * (56 + 2) + 2);
  },
);
