/** @file ONNX files as denoisers: what they are told, how their answers are read, which input is which, and that students of them learn. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import '../../../engine/graph/fluent.ts';
import { gradients } from '../../../engine/graph/gradients.ts';
import { toOnnx } from '../../../engine/graph/onnx.ts';
import { cast } from '../../../engine/graph/ops/elementwise.ts';
import { constant, input } from '../../../engine/graph/ops/leaf.ts';
import { oneHot } from '../../../engine/graph/ops/select.ts';
import { evaluate } from '../../../engine/graph/reference.ts';
import type { Tensor } from '../../../engine/graph/tensor.ts';
import { readSafetensors, toFloat32 } from '../../../engine/io/safetensors.ts';
import { expectClose } from '../../../engine/testing/parity.ts';
import { constantScope, recordingScope } from '../../../engine/train/weights.ts';
import { type OnnxDenoiserOptions, onnxDenoiser } from './denoiser.ts';
import { importOnnx } from './import.ts';
import { type DenoiserKind, namedSchedule, type ScheduleName, scheduleNames } from './schedules.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'onnx-denoiser-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));
const saved = async (name: string, outputs: Readonly<Record<string, Tensor>>): Promise<string> => {
  const path = join(folder, name);
  await writeFile(path, toOnnx(outputs));
  return path;
};
const golden = (name: string): string => fileURLToPath(new URL(`../../../engine/testing/golden/onnx/${name}`, import.meta.url));
const failure = (run: Promise<unknown>): Promise<string> =>
  run.then(
    () => 'nothing',
    (error: Error) => `${error.name}: ${error.message}`,
  );
const at = (values: readonly number[], outputs: readonly Tensor[], sigmas: readonly number[]): readonly Float64Array[] =>
  evaluate(outputs, { x: values, sigma: sigmas }, sigmas.length).map((v) => v.data);

describe('schedules', () => {
  const told = (name: ScheduleName, sigmas: readonly number[]): readonly Float64Array[] => {
    const { process } = namedSchedule(name);
    const sigma = input('sigma', [sigmas.length]);
    return evaluate([process.alpha(sigma), process.label(sigma)], { sigma: sigmas }).map((v) => v.data);
  };
  // ᾱ after t + 1 steps: the product of 1 − β.
  const alphaBar = (betas: readonly number[], t: number): number => betas.slice(0, t + 1).reduce((p, b) => p * (1 - b), 1);
  const even = (from: number, to: number): number[] => Array.from({ length: 1000 }, (_, i) => from + ((to - from) * i) / 999);
  test.each([
    ['linear', even(0.0001, 0.02)],
    ['scaled-linear', even(Math.sqrt(0.00085), Math.sqrt(0.012)).map((b) => b * b)],
  ] as const)('%s: the label of a table is its time', (name, betas) => {
    const times = [0, 3, 700, 998];
    const sigmas = times.map((t) => Math.sqrt(1 / alphaBar(betas, t) - 1));
    const [alpha, label] = told(name, sigmas);
    expectClose('label', label!, times, 1e-6);
    expectClose(
      'alpha',
      alpha!,
      times.map((t) => Math.sqrt(alphaBar(betas, t))),
      1e-6,
    );
  });
  test('vp: the time of dx = −½β(t) x dt + √β dw, 999 of them', () => {
    const times = [0.01, 0.3, 1];
    const sigmas = times.map((t) => Math.sqrt(Math.exp(0.5 * 19.9 * t * t + 0.1 * t) - 1));
    expectClose(
      'label',
      told('vp', sigmas)[1]!,
      times.map((t) => 999 * t),
      1e-9,
    );
  });
  test('flow: t of x_t = (1 − t) x0 + t ε, 1000 of them', () => {
    const [alpha, label] = told('flow', [1 / 3, 1, 3]);
    expectClose('label', label!, [250, 500, 750], 1e-9);
    expectClose('alpha', alpha!, [0.75, 0.5, 0.25], 1e-9);
  });
  test('edm and ve: logarithms', () => {
    expectClose('edm', told('edm', [1, Math.E ** 4])[1]!, [0, 1], 1e-9);
    expectClose('ve', told('ve', [2, 2 * Math.E])[1]!, [0, 1], 1e-9);
    expectClose('ve is not scaled', told('ve', [2, 50])[0]!, [1, 1], 0);
  });
  test('levels are in order', () => {
    for (const name of scheduleNames) expect(namedSchedule(name).sigmaMax, name).toBeGreaterThan(10 * namedSchedule(name).sigmaMin);
  });
});

describe('a file that says what it is told', () => {
  // Gives a·x + time, so that both are seen.
  const echo = (time: Tensor): Tensor => input('sample', ['N', 2]).mul(3).add(time);
  const told = async (kind: DenoiserKind, schedule: ScheduleName): Promise<readonly number[]> => {
    const path = await saved('echo.onnx', { out: echo(input('timestep', ['N', 1])) });
    const { build, sample } = await onnxDenoiser(path, { kind, schedule });
    expect(sample).toEqual({ shape: [2], classes: 0 });
    const d = build(constantScope(new Map())).denoise(input('x', ['N', 2]), input('sigma', ['N', 1]));
    return Array.from(at([1, 2], [d], [3])[0]!);
  };
  const label = 0.25 * Math.log(3);
  const a = 1 / Math.hypot(3, 0.5);
  test.each<readonly [DenoiserKind, ScheduleName, (x: number) => number]>([
    ['denoiser', 'edm', (x) => 3 * x + 3],
    ['denoiser', 'vp', (x) => 3 * x + 3],
    ['x0', 'edm', (x) => 3 * a * x + label],
    ['eps', 'edm', (x) => x - 3 * (3 * a * x + label)],
    ['eps', 've', (x) => x - 3 * (3 * x + Math.log(1.5))],
    ['flow', 'flow', (x) => (x - 3 * ((3 * x) / 4 + 750)) / 4],
    ['x0', 'flow', (x) => (3 * x) / 4 + 750],
  ])('%s on %s', async (kind, schedule, want) => {
    expectClose(`${kind} ${schedule}`, await told(kind, schedule), [want(1), want(2)], 1e-7);
  });
  test('v on a process of unit variance: D = α² x − ασ v', async () => {
    const [alpha, sigma] = [1 / Math.sqrt(10), 3];
    const t = (Math.sqrt(0.01 + 2 * 19.9 * Math.log(10)) - 0.1) / 19.9;
    const want = (x: number): number => alpha * alpha * x - alpha * sigma * (3 * alpha * x + 999 * t);
    expectClose('v', await told('v', 'vp'), [want(1), want(2)], 1e-7);
  });
  test('kinds that a schedule does not have', async () => {
    const path = await saved('echo.onnx', { out: echo(input('timestep', ['N', 1])) });
    expect(await failure(onnxDenoiser(path, { kind: 'v', schedule: 'flow' }))).toBe(
      `InputError: ${path}: a network that predicts v is not defined on the schedule flow; on it are flow, eps, x0, denoiser`,
    );
    expect(await failure(onnxDenoiser(path, { kind: 'flow', schedule: 'linear' }))).toMatch(
      /flow is not defined on the schedule linear; on it are eps, v, x0, denoiser/,
    );
  });
});

describe('inputs', () => {
  const x = input('latent', ['N', 1, 2, 2]);
  const options: OnnxDenoiserOptions = { kind: 'eps', schedule: 'linear' };
  test('class numbers, whole times, a text and twice the channels', async () => {
    const label = oneHot(input('y', ['N'], 'int64'), 3).matmul(constant(Float64Array.of(1, 10, 100), [3, 1]));
    const time = cast(input('t', ['N'], 'int64'), 'float32').reshape(['N', 1, 1, 1]);
    const text = input('encoder_hidden_states', ['N', 5, 4]).mul(0.5);
    const mean = text
      .reshape(['N', 20])
      .matmul(constant(new Float64Array(20).fill(1), [20, 1]))
      .reshape(['N', 1, 1, 1]);
    const doubled = constant(Float64Array.of(1, 7), [2, 1, 1])
      .mul(x)
      .add(time)
      .add(label.reshape(['N', 1, 1, 1]))
      .add(mean);
    const path = await saved('all.onnx', { out: doubled });
    const found = await onnxDenoiser(path, { ...options, classes: 3 });
    expect(found.sample).toEqual({ shape: [1, 2, 2], classes: 3 });
    expect(found.conditions).toEqual({ encoder_hidden_states: [5, 4] });
    expect(found.ports).toMatchObject({ learnedVariance: true, time: { name: 't' }, class: { name: 'y' } });
    const condition = { label: input('label', ['N', 3]), encoder_hidden_states: input('text', ['N', 5, 4]) };
    const sigma = input('sigma', ['N', 1, 1, 1]);
    const d = found.build(constantScope(new Map())).denoise(input('x', ['N', 1, 2, 2]), sigma, condition);
    const s = Math.sqrt(1 / 0.9999 - 1); // the level of time 0
    const values = evaluate([d], { x: [1, 2, 3, 4], sigma: [s], label: [0, 0, 1], text: new Array<number>(20).fill(0.1) })[0]!.data;
    expectClose(
      'denoised',
      values,
      [1, 2, 3, 4].map((v) => v - s * (v / Math.hypot(1, s) + 0 + 100 + 1)),
      1e-6,
    );
  });
  test('one time for all samples is told one level only', async () => {
    const path = await saved('scalar.onnx', { out: x.mul(2).add(input('timestep', [])) });
    const { build } = await onnxDenoiser(path, options);
    const network = build(constantScope(new Map()));
    expect(network.denoise(input('x', ['N', 1, 2, 2]), input('sigma', [])).shape).toEqual(['N', 1, 2, 2]);
    expect(() => network.denoise(input('x', ['N', 1, 2, 2]), input('sigma', ['N', 1, 1, 1]))).toThrow(
      /is one for all samples, but every sample has its own noise level/,
    );
  });
  test('one level for all samples is told every one', async () => {
    const path = await saved('each.onnx', { out: x.mul(2).add(input('timestep', ['N', 1, 1, 1])) });
    const { build } = await onnxDenoiser(path, { ...options, kind: 'denoiser' });
    const d = build(constantScope(new Map())).denoise(input('x', ['N', 1, 2, 2]), input('sigma', []));
    expectClose('denoised', evaluate([d], { x: [1, 2, 3, 4, Number.NaN, 0, 0, 0], sigma: [5] }, 2)[0]!.data.slice(0, 4), [7, 9, 11, 13], 0);
  });
  test('what cannot be told is said', async () => {
    const two = await saved('two.onnx', { out: input('a', ['N', 2, 2]).add(input('b', ['N', 2, 2])) });
    expect(await failure(onnxDenoiser(two, options))).toBe(
      `InputError: ${two}: it cannot be told which input is the sample; there are a float32[N,2,2], b float32[N,2,2], and the outputs out float32[N,2,2]: say which`,
    );
    expect((await onnxDenoiser(two, { ...options, inputs: { sample: 'b' } })).ports.others.map((p) => p.name)).toEqual(['a']);
    expect(await failure(onnxDenoiser(two, { ...options, inputs: { sample: 'c' } }))).toMatch(
      /has no input called "c"; there are a float32\[N,2,2\], b/,
    );
    const number = await saved('number.onnx', { out: x.add(cast(input('class_labels', ['N', 1, 1, 1], 'int64'), 'float32')) });
    expect((await onnxDenoiser(number, options)).ports.time?.name).toBe('class_labels'); // a number per sample with no name that says more
    const label = await saved('label.onnx', { out: x.add(cast(input('class_labels', ['N'], 'int64'), 'float32').reshape(['N', 1, 1, 1])) });
    expect(await failure(onnxDenoiser(label, options))).toMatch(
      /the input "class_labels" takes class numbers; say how many classes there are/,
    );
  });
});

describe('hidden maps', () => {
  const shapesOf = async (file: string, features?: Readonly<Record<string, string>>): Promise<unknown> => {
    const { build, ports, conditions } = await onnxDenoiser(golden(file), {
      kind: 'eps',
      schedule: 'linear',
      classes: 10,
      ...(features ? { features } : {}),
    });
    const given = Object.entries(conditions).map(([name, shape]) => [name, input(name, ['N', ...shape])] as const);
    const x = input('x', ports.sample.shape);
    const { features: found } = build(constantScope(new Map())).predict(x, input('sigma', ['N', 1, 1, 1]), {
      ...Object.fromEntries(given),
      label: input('label', ['N', 10]),
    });
    return Object.fromEntries(Object.entries(found).map(([name, t]) => [name, t.shape]));
  };
  test('the bottleneck of a UNet is its smallest map, of the last computed there', async () => {
    expect(await shapesOf('unet2d.dynamo21.onnx')).toEqual({ bottleneck: ['N', 8, 4, 4] });
    expect(await shapesOf('unet2d-condition.script17.onnx')).toEqual({ bottleneck: ['N', 8, 4, 4] });
  });
  test('maps and tokens by name', async () => {
    const file = await importOnnx(golden('dit.dynamo20.onnx'));
    const inputs = Object.fromEntries(file.inputs.map((p) => [p.name, input(p.name, p.shape, p.dtype)]));
    const { values } = file.trace(constantScope(new Map()), inputs);
    const tokens = [...values].find(([, t]) => t.shape.join() === 'N,16,8')![0];
    expect(await shapesOf('dit.dynamo20.onnx', { middle: tokens })).toEqual({ middle: ['N', 8, 4, 4] });
    expect(await failure(shapesOf('dit.dynamo20.onnx', { middle: 'nothing.like.it' }))).toMatch(/has no value called "nothing.like.it"/);
    expect(await failure(shapesOf('dit.dynamo20.onnx', { middle: 'timestep' }))).toMatch(
      /the hidden value "timestep" is int64\[N\]; it must be a map/,
    );
  });
});

describe('a UNet of PyTorch', () => {
  const path = golden('unet2d.dynamo21.onnx');
  test('predicts as it did there, and its weights can be trained', async () => {
    const { tensors } = await readSafetensors(path.replace(/onnx$/, 'safetensors'));
    const [sample, out] = ['in.sample', 'out.out_sample'].map((name) => toFloat32(tensors.get(name)!)) as [Float32Array, Float32Array];
    const { build, weights, sample: type } = await onnxDenoiser(path, { kind: 'eps', schedule: 'linear', trainable: ['m.*'] });
    expect(type.shape).toEqual([3, 8, 8]);
    const betas = Array.from({ length: 1000 }, (_, i) => 0.0001 + (0.0199 * i) / 999);
    const levels = [3, 700].map((t) => Math.sqrt(1 / betas.slice(0, t + 1).reduce((p, b) => p * (1 - b), 1) - 1));
    const scale = (i: number): number => Math.hypot(1, levels[Math.floor(i / 192)]!);
    const x = Array.from(sample, (v, i) => v * scale(i));
    const frozen = build(constantScope(weights)).denoise(input('x', [2, 3, 8, 8]), input('sigma', [2, 1, 1, 1]));
    expectClose(
      'denoised',
      at(x, [frozen], levels)[0]!,
      Array.from(out, (v, i) => x[i]! - levels[Math.floor(i / 192)]! * v),
      1e-4,
    );
    const { scope, tensors: parameters, declared } = recordingScope('student');
    const loss = build(scope)
      .denoise(input('x', [2, 3, 8, 8]), input('sigma', [2, 1, 1, 1]))
      .square()
      .sum();
    expect([...declared.values()].every((d) => d.trained && d.init.kind === 'values')).toBe(true);
    expect([...parameters.keys()].sort()).toEqual([...weights.keys()].sort());
    const values = Object.fromEntries([...weights].map(([name, w]) => [`student/${name}`, w.data]));
    const slopes = evaluate(gradients(loss, [...parameters.values()]), { x, sigma: levels, ...values });
    expect([...parameters.keys()].filter((_, i) => slopes[i]!.data.every((v) => v === 0))).toEqual([]);
  });
});
