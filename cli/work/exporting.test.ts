/** @file An exported student is the student: the same samples for the same noise, for any batch, in [-1, 1], with its facts inside. */
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema, TensorProto_DataType, type ValueInfoProto } from 'onnx-buf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fromFloat32, toFloat32 } from '../../engine/io/safetensors.ts';
import { loadModel as loadOnnx } from '../../engine/run/ort.ts';
import { float32, int64 } from '../../engine/run/runtime.ts';
import type { Weights } from '../../engine/train/weights.ts';
import { attempt } from '../testing/command.ts';
import { tinyModel, writeTinyRun } from '../testing/tiny.ts';
import { compareExport, expertsOnnx, exportStudent, rounded, studentOnnx, TOLERANCE } from './exporting.ts';
import { openGenerator, sampleNoise } from './generator.ts';
import { openStudentFile } from './student-file.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'export-'));
});
afterAll(() => rm(folder, { recursive: true }));

const student = tinyModel({ levels: [80], method: 'dmd2', teacher: 'digit-teacher' });
const clamp = (v: number): number => Math.min(1, Math.max(-1, v));
const farthest = (a: ArrayLike<number>, b: ArrayLike<number>): number => Math.max(...Array.from(a, (v, i) => Math.abs(v - b[i]!)));

describe('the file', () => {
  const graph = fromBinary(ModelProtoSchema, studentOnnx(student));
  const typeOf = (value: ValueInfoProto) => {
    const type = value.type!.value;
    if (type.case !== 'tensorType') throw new Error('no tensor');
    return {
      type: type.value.elemType,
      shape: type.value.shape!.dim.map((d) => (d.value.case === 'dimValue' ? Number(d.value.value) : d.value.value)),
    };
  };

  test('takes noise [N,1,28,28] and a label [N], gives an image; N is open', () => {
    const inputs = Object.fromEntries(graph.graph!.input.map((value) => [value.name, typeOf(value)]));
    expect(inputs).toEqual({
      noise: { type: TensorProto_DataType.FLOAT, shape: ['N', 1, 28, 28] },
      label: { type: TensorProto_DataType.INT64, shape: ['N'] },
    });
    expect(graph.graph!.output.map((value) => [value.name, typeOf(value)])).toEqual([
      ['image', { type: TensorProto_DataType.FLOAT, shape: ['N', 1, 28, 28] }],
    ]);
  });
  test('says what it is', () => {
    const metadata = Object.fromEntries(graph.metadataProps.map(({ key, value }) => [key, value]));
    expect(metadata).toMatchObject({
      method: 'dmd2',
      teacher: 'digit-teacher',
      data: 'digits',
      seed: '0',
      step: '3',
      classes: '10',
      levels: '80',
    });
    expect(metadata['normalisation']).toContain('[-1, 1]');
    expect(metadata['noise']).toContain('80');
  });
});

test('gives what the engine gives for the same noise and labels, clamped, at several batch sizes', async () => {
  const labels = [3, 0, 9, 9, 5];
  const own = openGenerator(student, { threads: 1 });
  const wanted = (await own.generate({ labels, n: 5, seed: 4 })).map(clamp);
  await own.close();
  // Wide enough that clamping is seen.
  expect(wanted.some((v) => v === 1) && wanted.some((v) => v > -1 && v < 1)).toBe(true);
  const file = await loadOnnx(studentOnnx(student), { threads: 1 });
  for (const [first, count] of [
    [0, 5],
    [2, 1],
    [1, 3],
  ] as const) {
    const shape = [count, 1, 28, 28];
    const feeds = {
      noise: float32(sampleNoise(shape, 4, 0, first).data as Float32Array, shape),
      label: int64(BigInt64Array.from(labels.slice(first, first + count), BigInt), [count]),
    };
    const { image } = await file.run(feeds);
    expect(image!.shape).toEqual(shape);
    expect(farthest(image!.data as Float32Array, wanted.slice(first * 784, (first + count) * 784))).toBeLessThan(TOLERANCE.float32);
  }
  await file.close();
});

test.each(['int8', 'int4'] as const)(
  '%s: the file is the student whose weights are rounded to blocks, and nearer to it than to the student itself',
  async (storage) => {
    const wide = tinyModel({ levels: [80], networkOptions: { ...student.card.networkOptions, channels: 32 } });
    const [single, few] = [studentOnnx(wide, 'float32'), studentOnnx(wide, storage)];
    expect(few.length).toBeLessThan((storage === 'int8' ? 0.4 : 0.3) * single.length);
    const changed = await compareExport(wide, few, { threads: 1 });
    const kept = await compareExport(rounded(wide, storage), few, { threads: 1 });
    expect(kept.maxDifference).toBeLessThan(TOLERANCE.float32);
    expect(changed.maxDifference).toBeGreaterThan(kept.maxDifference);
    expect(changed.rmsDifference).toBeLessThan(changed.maxDifference);
  },
);

test('weights beyond the limit lie in a file beside the model', async () => {
  const path = join(folder, 'outside.onnx');
  const wide = tinyModel({ levels: [80], networkOptions: { ...student.card.networkOptions, channels: 32 } });
  await exportStudent(wide, path, 'float32', 1000);
  expect((await stat(`${path}.data`)).size).toBeGreaterThan(1000);
  expect((await compareExport(wide, path, { threads: 1 })).maxDifference).toBeLessThan(TOLERANCE.float32);
});

test('float16 halves the file; it is the student whose weights are rounded to float16', async () => {
  const wide = tinyModel({ levels: [80], networkOptions: { ...student.card.networkOptions, channels: 32 } });
  const [single, half] = [studentOnnx(wide, 'float32'), studentOnnx(wide, 'float16')];
  expect(half.length).toBeLessThan(0.6 * single.length);
  // Weights of at least 1,024 values are rounded.
  const halved = new Map(
    [...wide.weights].map(([name, { shape, data }]) => [
      name,
      { shape, data: data.length < 1024 ? data : toFloat32(fromFloat32(data, shape, 'F16')) },
    ]),
  );
  const to = async (weights: Weights): Promise<number> => (await compareExport({ ...wide, weights }, half, { threads: 1 })).maxDifference;
  expect(await to(halved)).toBeLessThan(TOLERANCE.float32);
  expect(await to(wide.weights)).toBeGreaterThan(10 * TOLERANCE.float32);
});

test('the comparison sees a file of other weights', async () => {
  const other = tinyModel({ levels: [20] });
  expect((await compareExport(student, studentOnnx(other), { threads: 1 })).maxDifference).toBeGreaterThan(100 * TOLERANCE.float32);
});

test('a student of two levels takes noise for its second call, and draws the same samples from its file', async () => {
  const two = tinyModel({ levels: [80, 0.8], sample: { shape: [1, 28, 28], classes: 0 } });
  const file = await openStudentFile(studentOnnx(two), { batch: 2, threads: 1 });
  const own = openGenerator(two, { threads: 1 });
  expect(file.generator.nfe).toBe(2);
  const request = { labels: null, n: 3, seed: 11 };
  const [a, b] = [await file.generator.generate(request), await own.generate(request)];
  expect(farthest(a, b.map(clamp))).toBeLessThan(TOLERANCE.float32);
  await file.generator.close();
  await own.close();
});

test('a student that goes on with the noise that its samples hold has one noise input, whatever its levels', async () => {
  const two = tinyModel({ levels: [80, 0.8], noise: 'implied', sample: { shape: [1, 28, 28], classes: 0 } });
  const bytes = studentOnnx(two);
  const file = await openStudentFile(bytes, { threads: 1 });
  expect(file.generator.nfe).toBe(2);
  await file.generator.close();
  expect((await compareExport(two, bytes, { threads: 1 })).maxDifference).toBeLessThan(TOLERANCE.float32);

  const own = openGenerator(two, { threads: 1 });
  const fresh = openGenerator({ ...two, card: { ...two.card, noise: 'fresh' } }, { threads: 1 });
  const request = { labels: null, n: 2, seed: 3 };
  expect(await own.generate(request)).not.toEqual(await fresh.generate(request));
  await Promise.all([own.close(), fresh.close()]);
});

describe('experts', () => {
  const routed = (card: Parameters<typeof tinyModel>[0]) => tinyModel({ levels: [80, 2], noise: 'implied', ...card });
  test('by level: one file with all inside, or one each, of which the second goes on where the first ends', async () => {
    const phased = routed({ experts: [{ above: 2 }, { above: 0 }] });
    const bytes = studentOnnx(phased);
    expect((await compareExport(phased, bytes, { threads: 1 })).maxDifference).toBeLessThan(TOLERANCE.float32);
    // At a level that is known only its expert is inside.
    expect(bytes.length).toBeLessThan(
      1.2 * studentOnnx(tinyModel({ levels: [80], networkOptions: phased.card.networkOptions })).length * 2,
    );
    const label = int64(BigInt64Array.from([3n, 7n]), [2]);
    const noise = sampleNoise([2, 1, 28, 28], 5, 0, 0);
    const [first, second] = await Promise.all(expertsOnnx(phased).map((file) => loadOnnx(file, { threads: 1 })));
    const { x } = await first!.run({ noise, label });
    const { image } = await second!.run({ x: x!, label });
    const whole = await loadOnnx(bytes, { threads: 1 });
    const { image: wanted } = await whole.run({ noise, label });
    expect(farthest(image!.data as Float32Array, wanted!.data as Float32Array)).toBeLessThan(TOLERANCE.float32);
    for (const file of [first!, second!, whole]) await file.close();
  });
  test('by class: every label is answered by its own', async () => {
    const experts = [{ classes: [0, 1, 2, 3, 4] }, { classes: [5, 6, 7, 8, 9] }];
    const multi = routed({ levels: [80], experts });
    const bytes = studentOnnx(multi);
    expect((await compareExport(multi, bytes, { threads: 1 })).maxDifference).toBeLessThan(TOLERANCE.float32);
    const noise = sampleNoise([2, 1, 28, 28], 5, 0, 0);
    const label = int64(BigInt64Array.from([3n, 7n]), [2]);
    const images = await Promise.all(
      [bytes, ...expertsOnnx(multi)].map(async (file) => {
        const executable = await loadOnnx(file, { threads: 1 });
        const { image } = await executable.run({ noise, label });
        await executable.close();
        return image!.data as Float32Array;
      }),
    );
    expect(farthest(images[0]!.subarray(0, 784), images[1]!.subarray(0, 784))).toBeLessThan(TOLERANCE.float32);
    expect(farthest(images[0]!.subarray(784), images[2]!.subarray(784))).toBeLessThan(TOLERANCE.float32);
    expect(farthest(images[1]!, images[2]!)).toBeGreaterThan(0.1);
  });
  test('a student without is not written apart', () => {
    expect(() => expertsOnnx(student)).toThrow('export: tiny is one network, without experts; leave out --separate');
  });
});

describe('the command', () => {
  test('writes the file and states the difference', async () => {
    const run = await writeTinyRun(join(folder, 'student'), { levels: [80] });
    const out = join(folder, 'student.onnx');
    const { code, stdout } = await attempt('export', run, '--out', out, '--json');
    expect(code).toBe(0);
    const { maxDifference, rmsDifference, ...facts } = JSON.parse(stdout) as { maxDifference: number; rmsDifference: number };
    expect(facts).toEqual({ kind: 'export', out, storage: 'float32', samples: 8 });
    expect(maxDifference).toBeLessThan(TOLERANCE.float32);
    expect(rmsDifference).toBeLessThanOrEqual(maxDifference);
    const half = await attempt('export', run, '--out', out, '--storage', 'float16');
    expect(half.stdout).toMatch(/weights in float16\); the largest difference from the engine in 8 samples is \d/);
    const few = await attempt('export', run, '--out', out, '--storage', 'int4');
    expect(few.stdout).toMatch(/weights in int4\); the largest difference from the engine in 8 samples is \d.*, the root mean square \d/);
    expect((await attempt('export', run, '--out', out, '--no-check')).stdout).not.toContain('difference');
  });
  test('refuses a teacher, and names that are no .onnx file', async () => {
    const run = await writeTinyRun(join(folder, 'teacher'));
    const refused = await attempt('export', run, '--out', join(folder, 'teacher.onnx'));
    expect(refused).toMatchObject({
      code: 2,
      stderr: `error: export: ${run} is a teacher, which needs a sampler; distil it first (onestep distill dmd2 --teacher ${run})\n`,
    });
    expect((await attempt('export', run, '--out', 'student.pb')).stderr).toBe(
      'error: out: student.pb does not end in .onnx; give a name that does\n',
    );
    expect((await attempt('export', run, '--storage', 'int2')).stderr).toMatch(
      /^error: option '--storage <type>' argument 'int2' is invalid\. Allowed choices are float32, float16, int8, int4\.\n$/,
    );
  });
});
