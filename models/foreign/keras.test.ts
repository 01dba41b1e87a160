/** @file A small layers model by hand: every kind of layer in plain loops against the ONNX file; what is not supported is named. */
import { describe, expect, test } from 'vitest';
import { loadModel } from '../../engine/run/ort.ts';
import { float32 } from '../../engine/run/runtime.ts';
import { kerasToOnnx, kerasWeights, readKeras } from './keras.ts';

const layer = (class_name: string, name: string, config: object, ...inputs: readonly string[]) => ({
  name,
  class_name,
  config: { name, ...config },
  inbound_nodes: [inputs.map((input) => [input, 0, 0, {}])],
});
const quantization = { min: -1, scale: 1 / 64, dtype: 'uint8' };
const weight = (name: string, ...shape: readonly number[]) => ({ name, shape, dtype: 'float32', quantization });
const value = (layers: readonly object[], weights: readonly object[]) => ({
  modelTopology: { model_config: { config: { layers } } },
  weightsManifest: [{ paths: ['a'], weights }],
});

const SIDE = 7;
const start = layer('InputLayer', 'x', { batch_input_shape: [null, SIDE, SIDE, 2] });
const whole = value(
  [
    start,
    layer('Conv2D', 'conv', { kernel_size: [3, 1], strides: [1, 1], padding: 'same' }, 'x'),
    layer('BatchNormalization', 'norm', { epsilon: 0.001 }, 'conv'),
    layer('Activation', 'relu', { activation: 'relu' }, 'norm'),
    layer('MaxPooling2D', 'most', { pool_size: [3, 3], strides: [2, 2], padding: 'valid' }, 'relu'),
    layer('AveragePooling2D', 'mean', { pool_size: [3, 3], strides: [1, 1], padding: 'same' }, 'most'),
    layer('Concatenate', 'both', { axis: 3 }, 'most', 'mean'),
    layer('Dense', 'dense', {}, 'both'),
  ],
  [
    weight('conv/kernel', 3, 1, 2, 3),
    { name: 'conv/bias', shape: [3], dtype: 'float32' },
    weight('norm/moving_mean', 3),
    weight('norm/moving_variance', 3),
    weight('norm/beta', 3),
  ],
);
// Variances are 0.5 and more.
const kernelBytes = Uint8Array.from({ length: 18 }, (_, i) => (i * 37) % 128);
const bias = Float32Array.of(0.25, -0.5, 0.125);
const rest = Uint8Array.of(70, 50, 90, 96, 128, 160, 60, 80, 40);
const bytes = Uint8Array.from([...kernelBytes, ...new Uint8Array(bias.buffer), ...rest]);
const real = (q: number): number => q / 64 - 1;

test('the network equals its layers in plain loops', async () => {
  const model = readKeras('model', whole);
  const weights = kerasWeights('model', model, bytes);
  expect([...weights.get('conv/bias')!.data]).toEqual([0.25, -0.5, 0.125]);
  const session = await loadModel(kerasToOnnx('model', model, weights, 'both'), { threads: 1 });
  const x = Float32Array.from({ length: 2 * SIDE * SIDE }, (_, i) => ((i * 53) % 97) / 48 - 1); // [2, 7, 7]
  const { both } = await session.run({ x: float32(x, [1, 2, SIDE, SIDE]) });
  await session.close();
  const at = (c: number, i: number, j: number): number => (i < 0 || i >= SIDE ? 0 : x[c * SIDE * SIDE + i * SIDE + j]!);
  const activated = (o: number, i: number, j: number): number => {
    let sum = bias[o]!;
    for (let k = 0; k < 3; k++) for (let c = 0; c < 2; c++) sum += at(c, i + k - 1, j) * real(kernelBytes[(k * 2 + c) * 3 + o]!);
    const [mean, variance, beta] = [real(rest[o]!), real(rest[3 + o]!), real(rest[6 + o]!)];
    return Math.max(0, (sum - mean) / Math.sqrt(variance + 0.001) + beta);
  };
  const near = [0, 1, 2];
  const most = (o: number, i: number, j: number): number =>
    Math.max(...near.flatMap((a) => near.map((b) => activated(o, 2 * i + a, 2 * j + b))));
  // Windows that reach over the rim average what is inside.
  const mean = (o: number, i: number, j: number): number => {
    const inside = near
      .flatMap((a) => near.map((b) => [i + a - 1, j + b - 1] as const))
      .filter(([a, b]) => a >= 0 && b >= 0 && a < 3 && b < 3);
    return inside.reduce((sum, [a, b]) => sum + most(o, a, b), 0) / inside.length;
  };
  const wanted = [most, mean].flatMap((f) => near.flatMap((o) => near.flatMap((i) => near.map((j) => f(o, i, j)))));
  expect(both!.shape).toEqual([1, 6, 3, 3]);
  wanted.forEach((v, i) => {
    expect(both!.data[i]).toBeCloseTo(v, 5);
  });
});

describe('is refused', () => {
  const model = readKeras('model', whole);
  const weights = kerasWeights('model', model, bytes);
  test('what is no layers model', () => {
    expect(() => readKeras('model', { modelTopology: {} })).toThrow(
      'model: is no layers model of TensorFlow.js (modelTopology.model_config: ',
    );
  });
  test('bytes that are too few or too many', () => {
    expect(() => kerasWeights('model', model, bytes.subarray(1))).toThrow('model: the bytes end within norm/beta');
    expect(() => kerasWeights('model', model, Uint8Array.from([...bytes, 1, 2]))).toThrow('2 bytes are left over');
  });
  test('layers that are not known, or not there', () => {
    expect(() => kerasToOnnx('model', model, weights, 'dense')).toThrow('model: dense is a Dense; Conv2D, BatchNormalization, ');
    expect(() => kerasToOnnx('model', model, weights, 'mixed7')).toThrow('model: has no layer mixed7');
  });
  test.each([
    [
      'MaxPooling2D',
      { pool_size: [3, 3], strides: [2, 2], padding: 'same' },
      'padding same of windows [3,3] in steps [2,2] is not supported',
    ],
    ['Activation', { activation: 'softmax' }, 'last is softmax; relu is supported'],
    ['Concatenate', { axis: 1 }, 'last joins along 1; channels, the last axis, are supported'],
    ['AveragePooling2D', { pool_size: 'all', strides: [1, 1] }, 'last.pool_size is "all"; two whole numbers expected'],
    ['Conv2D', { kernel_size: [1, 1], strides: [1, 1], padding: 'valid' }, 'last has no kernel of four sizes'],
  ])('%s %j', (kind, config, message) => {
    const other = readKeras('model', value([start, layer(kind, 'last', config, 'x')], []));
    expect(() => kerasToOnnx('model', other, new Map(), 'last')).toThrow(message);
  });
});
