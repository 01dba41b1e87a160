/** @file `onestep benchmark`: models × samplers × budgets, measured one after another and reported. */
import { basename, extname, join } from 'node:path';
import { Command } from 'commander';
import { clock, progress, say, short } from '../output.ts';
import { type BenchmarkEvent, openJobs, runBenchmark } from '../work/benchmark.ts';
import { expectations } from '../work/benchmark-pace.ts';
import { type PlannedJob, planBenchmark } from '../work/benchmark-plan.ts';
import { readSuite, type Suite } from '../work/benchmark-suite.ts';

interface Words {
  readonly out?: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

export function benchmarkCommand(): Command {
  const command = new Command('benchmark')
    .description('Measure a suite of models, samplers and budgets; what is measured already is left as it is. Writes a report.')
    .argument('<suite>', 'suite file (.yaml or .json), see docs/reports.md')
    .option('--out <folder>', 'folder of measurements and report (default: runs/ and the name of the suite)')
    .option('--dry-run', 'check everything, and list what would be measured and how long it would take')
    .option('--json', 'print one JSON object a line');
  return command.action(async (path: string) => {
    const { out = join('runs', basename(path, extname(path))), dryRun = false, json = false } = command.opts<Words>();
    const suite = await readSuite(path);
    const jobs = await planBenchmark(suite, out);
    if (dryRun) return list(suite, jobs, json);
    const result = await runBenchmark({ suite, jobs, out, signal: interruption(json), onEvent: json ? printed : shown() });
    if (json) return say(JSON.stringify({ kind: 'benchmark', ...result }));
    const { finished, measured, of, files } = result;
    say(`${measured} of ${of} measured: ${files.html}`);
    if (!finished) say(`stopped: the same command goes on with the rest`);
  });
}

async function list({ shared }: Suite, jobs: readonly PlannedJob[], json: boolean): Promise<void> {
  const open = openJobs(jobs);
  const expected = open.length > 0 ? await expectations(jobs, shared) : () => 0;
  const total = open.reduce((sum, job) => sum + expected(job), 0);
  if (json) {
    const plain = jobs.map((job) => ({
      name: job.name,
      key: job.key,
      nfe: job.nfe,
      sampler: job.sampler,
      measured: job.done !== null,
      seconds: job.done ? 0 : expected(job),
    }));
    return say(JSON.stringify({ kind: 'plan', n: shared.n, jobs: plain, seconds: total }));
  }
  for (const job of jobs) {
    const state = job.done ? 'measured already' : open.includes(job) ? `about ${clock(expected(job))}` : 'the same as one above';
    say(`${job.name}: ${job.sampler}, ${job.nfe} network evaluations, ${state}`);
  }
  say(`${open.length} of ${jobs.length} to measure, ${shared.n} samples each: about ${clock(total)}`);
}

const printed = (event: BenchmarkEvent): void => {
  if (event.kind === 'measured') say(JSON.stringify(event));
};

/** A line that rewrites itself, elsewhere one every ten seconds; a line that stays for what is measured. */
function shown(): (event: BenchmarkEvent) => void {
  let last = performance.now();
  return (event) => {
    if (event.kind === 'measured') {
      const { name, nfe, metric, frechetHeldOut, frechetTraining, floor } = event.entry as Readonly<Record<string, number>>;
      return say(
        `[${event.index}/${event.of}] ${name}: ${metric} ${short(frechetHeldOut!)} to held-out, ${short(frechetTraining!)} to training images (floor ${short(floor!)}), NFE ${nfe}`,
      );
    }
    const important = event.pace === null || performance.now() - last > 10_000;
    if (important) last = performance.now();
    const { index, of, name, pace, secondsLeft } = event;
    const drawn = pace ? `${pace.done}/${pace.n} samples · ${short(pace.imagesPerSecond)} images/s · ` : '';
    progress(`[${index}/${of}] ${name} · ${drawn}${clock(secondsLeft)} left in all`, important);
  };
}

/** Fires on SIGINT or SIGTERM: what is measured is kept. A second one stops at once. */
function interruption(quiet: boolean): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(130);
      controller.abort();
      if (!quiet) say('stopping: what is measured is kept');
    });
  }
  return controller.signal;
}
