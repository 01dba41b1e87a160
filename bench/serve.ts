/** @file Our side of a benchmark, as a process of its own: answers each line on stdin with one line of JSON. `serve.ts WORK THREADS [FOLDER] [PROFILE]`. */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { clipWork } from './work/clip.ts';
import { denoiserWork } from './work/denoiser.ts';
import { frechetWork } from './work/frechet.ts';
import { imagesWork } from './work/images.ts';
import { methodWork } from './work/methods.ts';
import { dmd2Stage, unetStage } from './work/stages.ts';
import { studentWork } from './work/student.ts';
import { trainingWork, type Work } from './work/training.ts';

const [name, threadsText, folderText, profile] = process.argv.slice(2);
const threads = Number(threadsText);
const folder = folderText && folderText !== '-' ? folderText : null;

const works: Readonly<Record<string, () => Promise<Work>>> = {
  'unet-step': () => trainingWork({ stage: unetStage, threads, stepsPerRound: 1, folder, ...(profile ? { profile } : {}) }),
  'dmd2-cycle': () => trainingWork({ stage: dmd2Stage, threads, stepsPerRound: 5, folder, ...(profile ? { profile } : {}) }),
  'student-1': () => studentWork({ threads, batch: 1, folder }),
  frechet: () => frechetWork(folder),
  images: () => imagesWork(threads, folder),
  clip: () => clipWork(threads, folder),
  denoiser: () => denoiserWork(threads, folder!),
  'student-64': () => studentWork({ threads, batch: 64, folder }),
};

/** The largest resident size so far, in MB (Linux; elsewhere the present one). */
function peakMegabytes(): number {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]) / 1024;
  } catch {
    return process.memoryUsage.rss() / 2 ** 20;
  }
}
const say = (value: unknown): void => {
  process.stdout.write(JSON.stringify(value) + '\n');
};

/** `method:NAME` is one method. */
const work = name!.startsWith('method:') ? await methodWork(name!.slice(7), threads) : await works[name!]!();
say({ facts: work.facts });
for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'quit') break;
  const cpu = process.cpuUsage();
  const start = performance.now();
  const values = await work.round();
  const wall = performance.now() - start;
  const { user, system } = process.cpuUsage(cpu);
  say({ wall, cpu: (user + system) / 1000, values, peak: peakMegabytes() });
}
await work.close?.();
process.exit(0);
