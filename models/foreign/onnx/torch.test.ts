/**
 * @file Networks that PyTorch exported, imported: values as ONNX Runtime computes the file and as PyTorch computed them, gradients as PyTorch computed them.
 * engine/testing/golden/onnx/README.md says what they are.
 */
import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { gradients } from '../../../engine/graph/gradients.ts';
import { input } from '../../../engine/graph/ops/leaf.ts';
import type { Tensor } from '../../../engine/graph/tensor.ts';
import { readSafetensors } from '../../../engine/io/safetensors.ts';
import { loadModel, ortRuntime } from '../../../engine/run/ort.ts';
import { float32, type HostTensor } from '../../../engine/run/runtime.ts';
import { expectClose } from '../../../engine/testing/parity.ts';
import { recordingScope } from '../../../engine/train/weights.ts';
import { hostTensor } from '../../testing/golden.ts';
import { importOnnx } from './import.ts';

const folder = fileURLToPath(new URL('../../../engine/testing/golden/onnx/', import.meta.url));
const files = readdirSync(folder).filter((name) => name.endsWith('.onnx'));
/** Rounding of sums in float32, relative to the largest value; frequencies times time steps round most. */
const TOLERANCE = 2e-4;

test('the networks are there', () => {
  expect(files.length).toBeGreaterThan(10);
  expect([...new Set(files.map((name) => name.split('.')[0]))].sort()).toEqual([
    'clip-text',
    'dit',
    't5',
    'unet2d',
    'unet2d-condition',
    'vae-decoder',
    'vae-encoder',
  ]);
});

describe.each(files)('%s', (file) => {
  test('values and gradients', async () => {
    const path = join(folder, file);
    const { tensors } = await readSafetensors(path.replace(/onnx$/, 'safetensors'));
    const stored = (prefix: string): [string, HostTensor][] =>
      [...tensors].filter(([name]) => name.startsWith(prefix)).map(([name, t]) => [name.slice(prefix.length), hostTensor(t)]);
    const network = await importOnnx(path, { trainable: ['*'] });
    const { scope, tensors: parameters } = recordingScope('net');
    const fed = Object.fromEntries(stored('in.'));
    const inputs = Object.fromEntries(network.inputs.map((p) => [p.name, input(p.name, fed[p.name]!.shape, p.dtype)]));
    const outputs = network.network(scope, inputs);
    const cotangents = stored('cotangent.');
    const total = cotangents
      .map(([name]) => outputs[name]!.mul(input(`c/${name}`, outputs[name]!.shape)))
      .map((t) => t.sum())
      .reduce((a, b) => a.add(b));
    const wanted = stored('grad.');
    const xs = wanted.map(([name]): Tensor => (name.startsWith('in.') ? inputs[name.slice(3)]! : parameters.get(name)!));
    expect(wanted.filter((_, i) => !xs[i]).map(([name]) => name)).toEqual([]);
    const dxs = Object.fromEntries(gradients(total, xs).map((d, i) => [`d ${wanted[i]![0]}`, d]));
    const runtime = ortRuntime({ threads: 1 });
    const states = Object.fromEntries(
      [...network.weights].filter(([name]) => parameters.has(name)).map(([name, w]) => [`net/${name}`, float32(w.data, w.shape)]),
    );
    // Once more with a batch size that is not known before it runs.
    const free = network.network(scope, Object.fromEntries(network.inputs.map((p) => [p.name, input(p.name, p.shape, p.dtype)])));
    const { program, any } = await runtime.compile(
      { program: { outputs: { ...outputs, ...dxs }, updates: new Map() }, any: { outputs: free, updates: new Map() } },
      runtime.state(states),
    );
    const values = await program!.run({ ...fed, ...Object.fromEntries(cotangents.map(([name, c]) => [`c/${name}`, c])) });
    const freely = await any!.run(fed);
    const original = await loadModel(path, { threads: 1 });
    const theirs = await original.run(Object.fromEntries(original.inputs.map(({ name }) => [name, fed[name]!])));
    for (const [name, want] of stored('out.')) {
      expectClose(
        `${basename(file)}: ${name} by ONNX Runtime`,
        values[name]!.data,
        Array.from(theirs[name]!.data as Float32Array),
        TOLERANCE,
      );
      expectClose(
        `${basename(file)}: ${name} with a free batch size`,
        freely[name]!.data,
        Array.from(want.data as Float32Array),
        TOLERANCE,
      );
      expectClose(`${basename(file)}: ${name} by PyTorch`, values[name]!.data, Array.from(want.data as Float32Array), TOLERANCE);
    }
    for (const [name, want] of wanted)
      expectClose(`${basename(file)}: gradient of ${name}`, values[`d ${name}`]!.data, Array.from(want.data as Float32Array), TOLERANCE);
    await Promise.all([program!.close(), any!.close(), original.close()]);
  });
});
