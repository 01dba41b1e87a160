/** @file `onestep benchmark`: a plan without work, measurements that are those of `evaluate`, and going on where it stopped. */
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { elements } from '../../eval/testing/markup.ts';
import { attempt } from '../testing/command.ts';
import { writeTinyRun } from '../testing/tiny.ts';
import { openJobs, runBenchmark } from '../work/benchmark.ts';
import { planBenchmark } from '../work/benchmark-plan.ts';
import { suiteOf } from '../work/benchmark-suite.ts';

let folder = '';
const at = (name: string): string => join(folder, name);
const shared = { n: 20, neighbours: 2, threads: 2, samples: 10 };
const suite = () =>
  suiteOf('suite', {
    ...shared,
    title: 'Tiny <models>',
    entries: [
      { name: 'student', model: at('student') },
      { name: 'teacher', model: at('teacher'), sampler: 'euler', steps: [1, 2] },
    ],
  });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'benchmark-'));
  await writeTinyRun(at('student'), { levels: [80] });
  await writeTinyRun(at('teacher'));
  await writeFile(
    at('suite.yaml'),
    `n: 20\nneighbours: 2\nthreads: 2\nentries:\n  - model: ${at('student')}\n  - model: ${at('teacher')}\n    sampler: euler\n    steps: [1, 2]\n`,
  );
});
afterAll(() => rm(folder, { recursive: true }));

describe('a plan', () => {
  test('--dry-run lists what would be measured, and writes nothing', async () => {
    const { code, stdout } = await attempt('benchmark', at('suite.yaml'), '--out', at('dry'), '--dry-run', '--json');
    expect(code).toBe(0);
    const plan = JSON.parse(stdout) as { seconds: number; jobs: { name: string; nfe: number; seconds: number; measured: boolean }[] };
    expect(plan.jobs.map(({ name, nfe, measured }) => [name, nfe, measured])).toEqual([
      ['student', 1, false],
      ['teacher, euler, 1 step', 1, false],
      ['teacher, euler, 2 steps', 2, false],
    ]);
    expect(plan.seconds).toBeCloseTo(plan.jobs.reduce((sum, { seconds }) => sum + seconds, 0));
    expect(plan.seconds).toBeGreaterThan(0);
    await expect(stat(at('dry'))).rejects.toThrow('ENOENT');
    const plain = await attempt('benchmark', at('suite.yaml'), '--out', at('dry'), '--dry-run');
    expect(plain.stdout).toMatch(
      /^student: student, 1 network evaluations, about 0:\d\d\n[\s\S]*3 of 3 to measure, 20 samples each: about \d+:\d\d\n$/,
    );
  });
  test('what makes no sense for a model is told before anything is measured, with the name of the job', async () => {
    const wrong = (entry: object) => planBenchmark(suiteOf('s', { ...shared, entries: [{ model: 'digit-teacher' }, entry] }), at('none'));
    await expect(wrong({ name: 'x', model: at('student'), steps: 3 })).rejects.toThrow(
      /^x, 3 steps: steps: the student \S+ has levels of its own/,
    );
    await expect(wrong({ model: at('missing') })).rejects.toThrow(/^missing: model: there is no /);
  });
  test('a key changes with the weights, the levels, the settings, and with nothing else', async () => {
    const keys = async (change: object = {}): Promise<string[]> => {
      const entries = [
        { name: 'anything', model: at('student') },
        { model: at('teacher'), sampler: 'euler', steps: [1, 2] },
      ];
      return (await planBenchmark(suiteOf('s', { ...shared, ...change, entries }), at('none'))).map(({ key }) => key);
    };
    const before = await keys();
    expect(new Set(before).size).toBe(3);
    expect((await planBenchmark(suite(), at('none'))).map(({ key }) => key)).toEqual(before);
    expect(await keys({ threads: 1, batch: 7, title: 'other', samples: 3 })).toEqual(before);
    for (const change of [{ n: 21 }, { seed: 1 }, { neighbours: 3 }])
      expect((await keys(change)).some((key) => before.includes(key))).toBe(false);
    await writeTinyRun(at('student'), { levels: [40] });
    const after = await keys();
    expect([after[0] === before[0], after[1] === before[1]]).toEqual([false, true]);
    await writeTinyRun(at('student'), { levels: [80] });
    expect(await keys()).toEqual(before);
  });
});

describe('a run', { timeout: 180_000 }, () => {
  test('goes on where it was stopped; what is measured stays as it is; numbers are those of evaluate', async () => {
    const out = at('out');
    const stopping = new AbortController();
    const first = await runBenchmark({
      suite: suite(),
      jobs: await planBenchmark(suite(), out),
      out,
      signal: stopping.signal,
      onEvent: ({ kind }) => kind === 'measured' && stopping.abort(),
    });
    expect(first).toMatchObject({ finished: false, measured: 1, of: 3 });
    expect(await readFile(first.files.html, 'utf8')).toContain('not measured yet: teacher, euler, 1 step; teacher, euler, 2 steps');
    const [kept] = (await readdir(join(out, 'entries'))).filter((name) => name.endsWith('.json'));
    const { mtimeMs } = await stat(join(out, 'entries', kept!));

    const names: string[] = [];
    const jobs = await planBenchmark(suite(), out);
    expect(openJobs(jobs).map(({ name }) => name)).toEqual(['teacher, euler, 1 step', 'teacher, euler, 2 steps']);
    const second = await runBenchmark({
      suite: suite(),
      jobs,
      out,
      onEvent: (event) => {
        if (event.kind === 'measured') names.push(String(event.entry['name']));
        else expect(event.secondsLeft).toBeGreaterThan(0);
      },
    });
    expect(second).toMatchObject({ finished: true, measured: 3, of: 3 });
    expect(names).toEqual(['teacher, euler, 1 step', 'teacher, euler, 2 steps']);
    expect((await stat(join(out, 'entries', kept!))).mtimeMs).toBe(mtimeMs);

    const report = JSON.parse(await readFile(second.files.json!, 'utf8')) as {
      rows: {
        name: string;
        command: string;
        metrics: Record<string, { value: number; low?: number; high?: number }>;
        perClass: object[];
      }[];
      samples: object[];
      neighbours: object[];
    };
    expect(report.rows.map(({ name }) => name)).toEqual([
      'student',
      'real images (floor)',
      'teacher, euler, 1 step',
      'teacher, euler, 2 steps',
    ]);
    expect([report.samples.length, report.neighbours.length, report.rows[0]!.perClass.length]).toEqual([3, 3, 10]);
    elements(await readFile(second.files.html, 'utf8'));

    const { command, metrics } = report.rows.at(-1)!;
    expect(command).toBe(`onestep evaluate ${at('teacher')} --n 20 --seed 0 --reference digits --neighbours 2 --sampler euler --steps 2`);
    const evaluated = await attempt(...command.split(' ').slice(1), '--threads', '2', '--json');
    const { frechetHeldOut, classAccuracy } = JSON.parse(evaluated.stdout) as Record<string, number>;
    expect(metrics['frechetHeldOut']!.value).toBe(frechetHeldOut);
    expect(metrics['classAccuracy']!.value).toBe(classAccuracy);
    // With the intervals that the evaluation gives.
    const given = (JSON.parse(evaluated.stdout) as { metrics: typeof metrics }).metrics;
    for (const name of ['frechetHeldOut', 'frechetTraining', 'precision', 'recall', 'classAccuracy']) {
      expect(metrics[name], name).toEqual(given[name]);
      expect(metrics[name]!.low! <= metrics[name]!.value && metrics[name]!.value <= metrics[name]!.high!, name).toBe(true);
    }
    expect(metrics['frechetHeldOut']!.low!).toBeLessThan(metrics['frechetHeldOut']!.high!);
  });

  test('one that is stopped within a job leaves nothing of it; half an entry is measured again', async () => {
    const out = at('half');
    const stopping = new AbortController();
    const small = suiteOf('s', { ...shared, batch: 5, entries: [{ model: at('student') }] });
    const drawn: number[] = [];
    const result = await runBenchmark({
      suite: small,
      jobs: await planBenchmark(small, out),
      out,
      signal: stopping.signal,
      onEvent: (event) => {
        if (event.kind !== 'job' || !event.pace) return;
        drawn.push(event.pace.done);
        stopping.abort();
      },
    });
    expect([result.measured, drawn]).toEqual([0, [5]]);
    await expect(readdir(join(out, 'entries'))).rejects.toThrow('ENOENT');
    const [job] = await planBenchmark(small, out);
    const entries = join(out, 'entries');
    await mkdir(entries);
    await writeFile(join(entries, `${job!.key}.json`), '{"kind":"evaluation","key":');
    expect(openJobs(await planBenchmark(small, out))).toHaveLength(1);
  });

  test('the command: a finished suite takes no time and says so', async () => {
    const out = at('out');
    const yaml = `${JSON.stringify({ ...shared, entries: [{ name: 'student', model: at('student') }] })}\n`;
    await writeFile(at('again.yaml'), yaml);
    const { code, stdout } = await attempt('benchmark', at('again.yaml'), '--out', out);
    expect([code, stdout]).toEqual([0, `1 of 1 measured: ${join(out, 'report.html')}\n`]);
    const wrong = await attempt('benchmark', at('none.yaml'));
    expect([wrong.code, wrong.stderr]).toEqual([2, `error: ${at('none.yaml')}: cannot read: no such file (ENOENT)\n`]);
  });
});
