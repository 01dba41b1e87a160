/** @file Which device is taken, and what is said where one does not work. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { readSafetensors, toFloat32 } from '../../engine/io/safetensors.ts';
import { adapterTest, onAdapter } from '../../engine/testing/adapter.ts';
import { loadStudent } from '../../student/student.ts';
import { attempt } from '../testing/command.ts';
import { TINY_RUN, tinyModel } from '../testing/tiny.ts';
import { chooseDevice, isSoftware, type Tried, withLibrary } from './device.ts';
import { studentOnnx } from './exporting.ts';

const folder = mkdtempSync(join(tmpdir(), 'onestep-device-'));
afterAll(() => rmSync(folder, { recursive: true }));

const tried = (name: Tried['name'], milliseconds: number | null, more: Partial<Tried> = {}): Tried => ({
  name,
  milliseconds,
  failure: milliseconds === null ? 'no driver' : null,
  software: false,
  words: null,
  command: null,
  ...more,
});

describe('auto', () => {
  test('takes the fastest device that is worth it', () => {
    const found = chooseDevice([tried('cpu', 30), tried('webgpu', 4), tried('cuda', 2)]);
    expect(found).toEqual({ device: 'cuda', why: 'a trial took 2 ms there and 30 ms on the CPU' });
  });
  test('never takes an adapter in software, however fast', () => {
    const found = chooseDevice([tried('cpu', 30), tried('webgpu', 1, { software: true }), tried('cuda', null)]);
    expect(found).toEqual({ device: 'cpu', why: 'WebGPU has an adapter in software only; CUDA does not work here (no driver)' });
  });
  test('leaves out what is hardly faster than the CPU', () => {
    expect(chooseDevice([tried('cpu', 30), tried('webgpu', 25)])).toEqual({
      device: 'cpu',
      why: 'WebGPU took 25 ms for a trial, the CPU 30 ms',
    });
  });
});

test('an adapter is in software where a driver of that kind is named, or where Linux has no device file', () => {
  expect(isSoftware({ VK_ICD_FILENAMES: '/x/vk_swiftshader_icd.json' }, 'linux', ['renderD128'])).toBe(true);
  expect(isSoftware({ VK_DRIVER_FILES: '/x/lvp_icd.json' }, 'linux', ['renderD128'])).toBe(true);
  expect(isSoftware({}, 'linux', ['null', 'tty'])).toBe(true);
  expect(isSoftware({}, 'linux', ['renderD128'])).toBe(false);
  expect(isSoftware({}, 'linux', ['nvidia0'])).toBe(false);
  expect(isSoftware({}, 'darwin', [])).toBe(false);
});

test('a library that is missing is named', () => {
  const said =
    'Failed to load library /x/libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot open shared object file: No such file or directory';
  expect(withLibrary('Failed to load shared library', said)).toBe('Failed to load shared library: libcublasLt.so.13 is not found');
  const own = 'with error: /x/bin/libonnxruntime_providers_shared.so: cannot open shared object file: No such file';
  expect(withLibrary('Failed to load shared library', own)).toBe(
    'Failed to load shared library: libonnxruntime_providers_shared.so is not found',
  );
  expect(withLibrary('No supported adapters', said)).toBe('No supported adapters');
});

test('a word that is no device, and a device that does not work here, are one line each', async () => {
  const wrong = await attempt('sample', 'digit-teacher', '--device', 'webgp');
  expect(wrong).toMatchObject({
    code: 2,
    stderr: 'error: device: there is no webgp (did you mean webgpu?); there are auto, cpu, webgpu, cuda, tfjs\n',
  });
  const { code, stderr } = await attempt('sample', 'digit-teacher', '--device', 'cuda', '--out', join(folder, 'x.png'));
  // Where CUDA does work, the samples are drawn.
  if (code !== 0) expect([code, stderr]).toEqual([2, expect.stringMatching(/^error: device: CUDA does not work here: .*--device cpu\n$/)]);
}, 60_000);

/** Made at the first call. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  const made: { value?: Promise<T> } = {};
  return () => (made.value ??= make());
}

const main = new URL('../main.ts', import.meta.url);
async function cli(...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await onAdapter(main, args);
  expect(code, stderr.slice(-1000)).toBe(0);
  return `${stdout}${stderr}`;
}

const STEPS = 5;
const trainWords = (device: string, to: string, ...more: readonly string[]): readonly string[] => {
  const rest = ['--beside', '1', '--steps', String(STEPS), '--checkpoint-every', '3', '--device', device, '--out', join(folder, to)];
  return ['train', ...TINY_RUN, ...rest, ...more];
};
const lossesOf = (run: string): number[] =>
  readFileSync(join(folder, run, 'log.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { terms: Record<string, number> }).terms['model/loss']!);
const checkpointsOf = (run: string): string[] => readdirSync(join(folder, run, 'checkpoints')).sort();
/** The same run on the CPU. */
const onCpu = once(async () => {
  expect((await attempt(...trainWords('cpu', 'cpu'))).code).toBe(0);
  return lossesOf('cpu');
});
function expectCurve(own: readonly number[], other: readonly number[]): void {
  expect(own.length).toBe(STEPS);
  for (const [i, loss] of own.entries()) expect(loss).toBeCloseTo(other[i]!, 4);
}

adapterTest('a run on WebGPU is the run on the CPU: losses, checkpoints, samples', async () => {
  const wanted = await onCpu();
  expect(await cli(...trainWords('webgpu', 'webgpu'))).toContain(
    'device: WebGPU (as asked for; its adapter is in software, slower than the CPU)',
  );
  expectCurve(lossesOf('webgpu'), wanted);
  expect(checkpointsOf('webgpu')).toEqual(checkpointsOf('cpu'));
  const sampled = (device: string): readonly string[] => [
    ...['sample', join(folder, 'webgpu'), '--n', '4', '--steps', '3'],
    ...['--device', device, '--out', join(folder, `${device}.safetensors`)],
  ];
  expect((await attempt(...sampled('cpu'))).code).toBe(0);
  await cli(...sampled('webgpu'));
  const [there, here] = await Promise.all(
    ['cpu', 'webgpu'].map(async (device) =>
      toFloat32((await readSafetensors(join(folder, `${device}.safetensors`))).tensors.get('images')!),
    ),
  );
  expect(Math.max(...there!.map((v, i) => Math.abs(v - here![i]!)))).toBeLessThan(1e-3);
  expect(Math.max(...here!.map(Math.abs))).toBeGreaterThan(0.1);
});

test('a run on TensorFlow.js is the run on the CPU, and says with what it computes', async () => {
  const wanted = await onCpu();
  const { code, stderr } = await attempt(...trainWords('tfjs', 'tfjs'));
  expect(stderr).toContain('device: TensorFlow.js (as asked for; @tensorflow/tfjs-core 4.22.0, backend wasm)\n');
  expect(code).toBe(0);
  expectCurve(lossesOf('tfjs'), wanted);
  expect(checkpointsOf('tfjs')).toEqual(checkpointsOf('cpu'));
  const sampled = (device: string): readonly string[] => [
    ...['sample', join(folder, 'tfjs'), '--n', '4', '--steps', '3'],
    ...['--device', device, '--out', join(folder, `by-${device}.safetensors`)],
  ];
  for (const device of ['cpu', 'tfjs']) expect((await attempt(...sampled(device))).code).toBe(0);
  const [there, here] = await Promise.all(
    ['cpu', 'tfjs'].map(async (device) =>
      toFloat32((await readSafetensors(join(folder, `by-${device}.safetensors`))).tensors.get('images')!),
    ),
  );
  expect(Math.max(...there!.map((v, i) => Math.abs(v - here![i]!)))).toBeLessThan(1e-4);
  expect(Math.max(...here!.map(Math.abs))).toBeGreaterThan(0.1);
});

test('TensorFlow.js leaves finished files to ONNX Runtime, and lower precisions to others', async () => {
  const file = studentOnnx(tinyModel({ levels: [80], method: 'dmd2' }));
  await expect(loadStudent(file, { device: 'tfjs' })).rejects.toThrow(
    /^tfjs: runs models of a run folder, not finished ONNX files; take --device cpu, webgpu or cuda for those$/,
  );
  const halved = await attempt(...trainWords('tfjs', 'half', '--precision', 'bfloat16'));
  expect([halved.code, halved.stderr.split('\n').at(-2)]).toEqual([
    2,
    'error: precision: TensorFlow.js computes in float32 here; leave --precision out, or take another --device',
  ]);
});

test('the doctor says what TensorFlow.js computes with', async () => {
  const { devices, auto } = JSON.parse((await attempt('doctor', '--json')).stdout) as { devices: Tried[]; auto: { device: string } };
  expect(devices.find(({ name }) => name === 'tfjs')).toMatchObject({
    failure: null,
    words: '@tensorflow/tfjs-core 4.22.0, backend wasm',
    software: false,
  });
  expect(auto.device).not.toBe('tfjs');
});

adapterTest('a lost adapter is one line, and the run goes on from its last checkpoint on the CPU', async () => {
  const wanted = await onCpu();
  const losing = new URL('../testing/losing.ts', import.meta.url);
  const { code, stderr } = await onAdapter(losing, [join(folder, 'lost'), ...trainWords('webgpu', 'lost')]);
  expect(code).toBe(2);
  expect(stderr.trimEnd().split('\n').at(-1)).toMatch(
    /^error: webgpu: the device failed while \w+ \w+.*: device lost; checkpoints are as they were: .*--device cpu$/,
  );
  expect(stderr).not.toContain('    at ');
  expect(checkpointsOf('lost')).toEqual(checkpointsOf('cpu').slice(0, 1));
  expect((await attempt(...trainWords('cpu', 'lost', '--resume'))).code).toBe(0);
  expectCurve(lossesOf('lost'), wanted);
  expect(checkpointsOf('lost')).toEqual(checkpointsOf('cpu'));
});

adapterTest('the doctor tells an adapter in software, which auto leaves alone', async () => {
  const { devices, auto } = JSON.parse((await cli('doctor', '--json')).split('\n')[0]!) as { devices: Tried[]; auto: { device: string } };
  expect(devices.find(({ name }) => name === 'webgpu')).toMatchObject({ failure: null, software: true });
  expect(auto.device).not.toBe('webgpu');
});
