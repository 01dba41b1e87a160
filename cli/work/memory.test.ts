/** @file What a dry run says a job takes, against the largest resident size of a process that does it, and what is said where a machine has less. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { Loss } from '../../engine/train/loss.ts';
import edm from '../../losses/edm.ts';
import { start } from '../testing/command.ts';
import { verdict } from './memory.ts';
import { planOf } from './plan.ts';

const scratch = mkdtempSync(join(tmpdir(), 'onestep-memory-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** The largest resident size of a process in bytes, as Linux keeps it; read until the process ends. */
async function peakOf(args: readonly string[]): Promise<number> {
  const { child, ended } = start(args);
  let peak = 0;
  const timer = setInterval(() => {
    try {
      const [, kilobytes = '0'] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8')) ?? [];
      peak = Math.max(peak, 1024 * Number(kilobytes));
    } catch {
      // it has ended
    }
  }, 20);
  const { code, stderr } = await ended;
  clearInterval(timer);
  if (code !== 0) throw new Error(stderr);
  return peak;
}

async function saidOf(args: readonly string[]): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await start([...args, '--dry-run', '--json']).ended;
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

const NETWORK = ['--multipliers', '1,2', '--blocks', '2', '--attention', ''];
const RUN = ['--steps', '4', '--checkpoint-every', '2', '--sample-every', '0', '--threads', '1'];
/** Every job is two processes: most are for `npm run proof`. */
const JOBS: readonly (readonly [string, readonly string[]])[] = [
  ['a small network on a wide batch', ['train', '--data', 'digits', '--channels', '16', ...NETWORK, '--batch', '128', '--beside', '1']],
  [
    'the same, recomputed',
    ['train', '--data', 'digits', '--channels', '16', ...NETWORK, '--batch', '128', '--beside', '1', '--recompute', 'blocks'],
  ],
  ['many weights on a small batch', ['train', '--data', 'digits', '--channels', '96', ...NETWORK, '--batch', '4', '--beside', '1']],
  ['a batch in parts', ['train', '--data', 'digits', '--channels', '32', ...NETWORK, '--batch', '64', '--parts', '4', '--beside', '1']],
  ['a distillation of three networks', ['distill', 'dmd2', '--teacher', 'digit-teacher', '--batch', '32', '--beside', '1']],
  [
    'the same with frozen weights in halves',
    ['distill', 'dmd2', '--teacher', 'digit-teacher', '--batch', '32', '--beside', '1', '--frozen-storage', 'float16'],
  ],
];

describe.skipIf(!existsSync('/proc/self/status'))('the largest resident size', () => {
  const proof = process.env['ONESTEP_PROOF'] === '1';
  const often = ['the same, recomputed', 'a batch in parts'];
  test.each(JOBS.filter(([name]) => proof || often.includes(name)))(
    'of %s is right within 15 %%',
    { timeout: 120_000 },
    async (name, args) => {
      const job = [...args, ...RUN, '--out', join(scratch, name)];
      const said = 1e6 * Number((await saidOf(job))['peakMegabytes']);
      const peak = await peakOf(job);
      expect(said / peak, `${Math.round(said / 1e6)} MB said, ${Math.round(peak / 1e6)} MB measured`).toBeGreaterThan(0.85);
      expect(said / peak, `${Math.round(said / 1e6)} MB said, ${Math.round(peak / 1e6)} MB measured`).toBeLessThan(1.15);
    },
  );
});

describe('a job that', () => {
  const plan = planOf(edm as unknown as Loss, 'song-unet', { data: 'digits', batch: 8 });
  const GB = 1e9;
  test('fits', () => {
    expect(verdict(2 * GB, plan, true, 8 * GB, 4 * GB)).toBe('yes: about 2000 MB of the 8000 MB of this machine');
  });
  test('fits when others end', () => {
    expect(verdict(6 * GB, plan, true, 8 * GB, 4 * GB)).toBe(
      'only when other programs end: about 6000 MB of the 8000 MB of this machine, 4000 MB of them free',
    );
  });
  test('does not fit hears what would help', () => {
    expect(verdict(9 * GB, plan, true, 8 * GB, 4 * GB)).toBe(
      'no: about 9000 MB, but this machine has 8000 MB; keep fewer values with --recompute blocks; cut the batch into parts with --parts and --beside 1; or take a smaller one with --batch 4; train adapters instead of all weights with --lora-rank 16',
    );
    const tried = planOf(edm as unknown as Loss, 'song-unet', { data: 'digits', batch: 1, recompute: 'blocks' });
    expect(verdict(9 * GB, tried, false, 8 * GB, 4 * GB)).toBe('no: about 9000 MB, but this machine has 8000 MB; take a smaller network');
  });
});
