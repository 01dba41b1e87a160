/** @file The page of a run that may still be training: what its folder holds at the moment. Reads only. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { LogLine, StepLine } from '../../engine/train/logs.ts';
import type { Picture } from '../../eval/report/comparison.ts';
import { renderComparison } from '../../eval/report/comparison-html.ts';
import { clock } from '../output.ts';
import { comparisonOf } from './report.ts';
import { lastStep } from './report-curves.ts';
import { readRun } from './report-run.ts';
import { followLog } from './watch-log.ts';

export interface WatchedPage {
  /** Changes whenever something that the page shows does. */
  version(): Promise<string>;
  html(): Promise<string>;
}

/** What the page is made of. */
const SOURCES = ['log.jsonl', 'config.json', 'model.safetensors', 'metrics.json', 'evaluations', 'samples'];

/** @param script address of the script that updates the page */
export function watchedPage(run: string, script: string): WatchedPage {
  const follower = followLog(run);
  let last: { readonly version: string; readonly html: string } | null = null;
  const version = async (): Promise<string> => {
    const facts = await Promise.all(SOURCES.map((name) => stat(join(run, name)).catch(() => null)));
    return facts.map((one) => (one ? `${one.ino}.${one.size}.${one.mtimeMs}` : '-')).join(' ');
  };
  const build = async (): Promise<string> => {
    const at = await version(); // before reading: what comes in between is shown next time
    if (last?.version === at) return last.html;
    const log = await follower.lines();
    const folder = await readRun(run, undefined, log);
    const comparison = comparisonOf([folder], { problems: folder.problems, samples: await newestSamples(run) });
    const html = renderComparison(comparison, { status: statusOf(log, folder.config?.['steps']), script });
    last = { version: at, html };
    return html;
  };
  let queue: Promise<unknown> = Promise.resolve();
  return {
    version,
    // One after another: they share the follower of the log.
    html() {
      const next = queue.then(build);
      queue = next.catch(() => {});
      return next;
    },
  };
}

/** The last picture that the training drew. */
async function newestSamples(run: string): Promise<readonly Picture[]> {
  const names = await readdir(join(run, 'samples')).catch(() => []);
  const name = names
    .filter((one) => /^step-\d+\.png$/.test(one))
    .sort()
    .at(-1);
  const png = name === undefined ? null : await readFile(join(run, 'samples', name)).catch(() => null);
  if (name === undefined || png === null || png.length < 24) return [];
  const step = Number(/\d+/.exec(name)![0]);
  return [{ title: `Step ${step}`, png, alt: `samples at step ${step}`, note: 'The same noise every time.' }];
}

/** Lines over which the pace is measured. */
const RECENT = 20;

/** Where the run is, in a sentence. @param steps that it is to make, where its configuration says so */
export function statusOf(log: readonly LogLine[], steps: unknown): string {
  const last = lastStep(log);
  if (!last) return 'No step is logged yet.';
  const goal = typeof steps === 'number' && steps > 0 ? steps : null;
  const parts = [
    `step ${last.step.toLocaleString('en-US')}${goal === null ? '' : ` of ${goal.toLocaleString('en-US')}`}`,
    `${last.nimg.toLocaleString('en-US')} images`,
    `${clock(last.seconds)} of training`,
    last.skipped > 0 ? `${last.skipped} steps skipped` : '',
    goal === null ? '' : last.step >= goal ? 'finished' : `${clock(secondsLeft(log, goal))} left`,
  ];
  return parts.filter(Boolean).join(' · ');
}

/** At the pace of the last lines. */
function secondsLeft(log: readonly LogLine[], goal: number): number {
  const recent = log.filter((line): line is StepLine => 'seconds' in line).slice(-RECENT);
  const [first, last] = [recent.length > 1 ? recent[0]! : { step: 0, seconds: 0 }, recent.at(-1)!];
  return ((goal - last.step) * (last.seconds - first.seconds)) / (last.step - first.step);
}
