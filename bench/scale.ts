/**
 * @file Networks of real size with random weights: `npm run scale -- dit-xl|sd15|sdxl [FOLDER [adapt] [speed]]` writes a checkpoint, imports it, trains adapters of
 * it where that is asked for, and evaluates the denoiser once from weights that are mapped into memory, each in a process of its own whose largest resident size is
 * printed; `speed` evaluates it in turns with diffusers on PyTorch. Linux alone.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, statSync } from 'node:fs';
import { availableParallelism, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { takeTurns } from './measure.ts';
import { ours, peer } from './process.ts';
import { SIZES } from './scale-sizes.ts';

const [name = '', given, ...further] = process.argv.slice(2);
const size = SIZES[name];
if (!size) throw new Error(`usage: npm run scale -- ${Object.keys(SIZES).join('|')} [FOLDER [adapt] [speed]]`);
const folder = given ?? mkdtempSync(join(tmpdir(), `onestep-${name}-`));
mkdirSync(folder, { recursive: true });

const worker = fileURLToPath(new URL('scale-work.ts', import.meta.url));
interface Ended {
  readonly facts: Readonly<Record<string, unknown>>;
  readonly peakMegabytes: number;
  readonly seconds: number;
}
/** Runs a stage to its end. */
function stage(what: string): { readonly pid: number; readonly ended: Promise<Ended> } {
  const begin = performance.now();
  const child = spawn(process.execPath, ['--import', 'tsx', worker, what, name, folder], { stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  let peak = 0;
  child.stdout.on('data', (part: Buffer) => {
    out += part.toString();
  });
  const timer = setInterval(() => {
    try {
      const [, kilobytes = '0'] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8')) ?? [];
      peak = Math.max(peak, Number(kilobytes) / 1024 ** 2);
    } catch {
      // it has ended
    }
  }, 50);
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('close', (code) => {
      clearInterval(timer);
      if (code !== 0) reject(new Error(`${what}: ended with code ${code}`));
      else
        resolve({
          facts: JSON.parse(out.trim().split('\n').at(-1) ?? '{}'),
          peakMegabytes: Math.round(peak * 1024),
          seconds: Math.round((performance.now() - begin) / 100) / 10,
        });
    });
  });
  return { pid: child.pid!, ended };
}

/** Rounds that count. */
const RUNS = 3;
/** Our evaluations and diffusers', on all cores. */
async function inTurns(): Promise<object> {
  const sides = [await ours('denoiser', 0, folder)];
  sides.push(await peer('diffusers', 'unet_condition.py', [folder, '0']));
  const [own, other] = await takeTurns(sides, { benchmark: 'denoiser', warmup: 1, runs: RUNS, checked: 1 });
  await Promise.all(sides.map((side) => side.close()));
  const wall = { ours: Math.round(own!.wall), peer: Math.round(other!.wall), ratio: Math.round((100 * own!.wall) / other!.wall) / 100 };
  return {
    ...wall,
    peakMegabytes: { ours: Math.round(own!.peak), peer: Math.round(other!.peak) },
    ...sides[1]!.facts,
    runs: RUNS,
    agree: true,
  };
}

const show = (what: string, value: unknown): void => console.log(`${what}: ${JSON.stringify(value)}`);
show('machine', { cores: availableParallelism(), memoryMegabytes: Math.round(totalmem() / 1024 ** 2) });
show('make', await stage('make').ended);
const stored = statSync(join(folder, 'checkpoint', 'diffusion_pytorch_model.safetensors')).size / 1024 ** 2;
const imported = await stage('import').ended;
show('import', { ...imported, storedMegabytes: Math.round(stored), ratio: Math.round((100 * imported.peakMegabytes) / stored) / 100 });
if (further.includes('adapt')) show('two steps of DMD2 by adapters', await stage('adapt').ended);
show('export', await stage('export').ended);
show('evaluate', await stage('evaluate').ended);
if (further.includes('speed')) show('evaluations in turns, milliseconds', await inTurns());
const [a, b] = await Promise.all([stage('share').ended, stage('share').ended]);
show('two processes at once', {
  proportional: [a.facts['proportionalMegabytes'], b.facts['proportionalMegabytes']],
  resident: [a.facts['residentMegabytes'], b.facts['residentMegabytes']],
});
