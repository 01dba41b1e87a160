/** @file What the program says of itself: methods, doctor, version and help. */
import { expect, test } from 'vitest';
import { deviceNames } from '../../engine/run/devices.ts';
import { attempt } from '../testing/command.ts';
import { packageVersion } from '../version.ts';
import { methodNames } from '../work/methods.ts';

test('methods: every file of losses/, with its paper, players and options', async () => {
  const { code, stdout } = await attempt('methods', '--json');
  expect(code).toBe(0);
  const methods = JSON.parse(stdout) as {
    name: string;
    reference: string;
    players: object;
    options: { name: string; initial: unknown; values: string }[];
  }[];
  expect(methods.map(({ name }) => name)).toEqual(await methodNames());
  for (const { reference } of methods) expect(reference).toMatch(/^\d{4}\.\d{4,5}$/);
  const dmd2 = methods.find(({ name }) => name === 'dmd2')!;
  expect(dmd2.players).toEqual({ student: 'teacher', teacher: 'teacher', fake: 'teacher' });
  expect(dmd2.options.find(({ name }) => name === 'ratio')).toMatchObject({ initial: 5, values: 'a whole number in [1, 100]' });
  const plain = (await attempt('methods')).stdout;
  expect(plain).toMatch(/^dmd2 {2}arXiv:2405\.14867$/m);
  expect(plain).toContain('  --ratio 5: ');
  const some = (await attempt('methods', 'sid', 'ect')).stdout;
  expect(some.match(/^\S+(?= {2}arXiv:)/gm)).toEqual(['sid', 'ect']);
  expect(await attempt('methods', 'sit')).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/^error: methods: there is no method sit; did you mean sid\? \(methods: agd, [^\n]*\)\n$/),
  });
});

test('doctor: the CPU works, and what does not is named with what it needs', { timeout: 60_000 }, async () => {
  const { code, stdout, stderr } = await attempt('doctor', '--json');
  expect([code, stderr]).toEqual([0, '']);
  const found = JSON.parse(stdout) as {
    node: string;
    cores: number;
    devices: { name: string; failure: string | null; milliseconds: number | null; needs: string }[];
    auto: { device: string; why: string };
    sharp: object;
  };
  expect(found).toMatchObject({
    onestep: packageVersion(),
    node: process.versions.node,
    sharp: { version: expect.stringMatching(/^\d+\./), failure: null },
  });
  expect(found.cores).toBeGreaterThan(0);
  expect(found.devices.map(({ name }) => name)).toEqual(deviceNames);
  expect(found.devices.find(({ name }) => name === 'cpu')).toMatchObject({ failure: null, milliseconds: expect.any(Number) });
  for (const { failure, milliseconds, needs } of found.devices) {
    expect(failure === null).toBe(milliseconds !== null);
    expect(needs).not.toBe('');
  }
  expect(deviceNames).toContain(found.auto.device);
});

test('version and help', async () => {
  expect(await attempt('--version')).toEqual({ code: 0, stdout: `${packageVersion()}\n`, stderr: '' });
  const { code, stdout } = await attempt('--help');
  expect(code).toBe(0);
  for (const name of ['quickstart', 'train', 'distill', 'sample', 'evaluate', 'export', 'forward', 'methods', 'doctor'])
    expect(stdout).toContain(`  ${name} `);
});
