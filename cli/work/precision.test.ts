/** @file `--precision` and `--frozen-storage` from the command line: runs, what is refused, what is noted. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { attempt } from '../testing/command.ts';
import { writeTinyRun } from '../testing/tiny.ts';

const folder = mkdtempSync(join(tmpdir(), 'precision-'));
afterAll(() => rmSync(folder, { recursive: true }));
let teacher = '';
beforeAll(async () => {
  teacher = await writeTinyRun(join(folder, 'teacher'));
});
const distil = (out: string, ...more: readonly string[]) =>
  attempt(
    ...[
      'distill',
      'dmd2',
      '--teacher',
      teacher,
      '--steps',
      '2',
      '--batch',
      '4',
      '--sample-every',
      '0',
      '--log-every',
      '1',
      '--threads',
      '1',
    ],
    ...['--out', join(folder, out), ...more],
  );

test('float16 is noted where it is known to diverge, logged with its scale, and stands in the configuration', async () => {
  const { code, stdout, stderr } = await distil('half', '--precision', 'float16');
  expect(code, stderr).toBe(0);
  expect(stdout + stderr).toContain('dmd2 is known to diverge in float16');
  const lines = readFileSync(join(folder, 'half/log.jsonl'), 'utf8').trim().split('\n');
  const { terms } = JSON.parse(lines[0]!) as { readonly terms: Readonly<Record<string, number>> };
  expect(terms['student/lossScale']).toBe(65536);
  expect(JSON.parse(readFileSync(join(folder, 'half/config.json'), 'utf8'))).toMatchObject({ precision: 'float16' });
});
test('a teacher in bytes: the run goes on from its checkpoint, which holds nothing of it', async () => {
  expect(await distil('bytes', '--frozen-storage', 'int8')).toMatchObject({ code: 0 });
  expect(await distil('bytes', '--frozen-storage', 'int8', '--steps', '3', '--resume')).toMatchObject({ code: 0 });
  expect(JSON.parse(readFileSync(join(folder, 'bytes/config.json'), 'utf8'))).toMatchObject({ frozenStorage: 'int8' });
  const [first] = readdirSync(join(folder, 'bytes/checkpoints'));
  expect(readdirSync(join(folder, 'bytes/checkpoints', first!)).filter((file) => file.includes('frozen'))).toEqual([]);
});
test.each([
  [['--precision', 'float8'], /^error: .*precision.*float8.*float32, float16, bfloat16[^\n]*\n$/],
  [
    ['--frozen-storage', 'int8', '--device', 'tfjs'],
    /^device: TensorFlow\.js [^\n]*\nerror: frozenStorage: TensorFlow\.js holds float32 only; [^\n]*\n$/,
  ],
])('%j is refused', async (given, message) => {
  const { code, stderr } = await distil('never', ...given);
  expect(code).toBe(2);
  expect(stderr).toMatch(message);
});
