/** @file Wide joins and cuts as trees: the same values, and no node of more tensors than a shader may be bound to. */
import { fromBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema } from 'onnx-buf';
import { describe, expect, test } from 'vitest';
import { loadModel } from '../../run/ort.ts';
import { float32 } from '../../run/runtime.ts';
import { toOnnx } from '../onnx.ts';
import { mul } from './elementwise.ts';
import { input } from './leaf.ts';
import { concat, unpack } from './movement.ts';

describe.each([1, 7, 8, 49, 50, 120])('%d parts', (n) => {
  // Part i holds i + 1 values, each multiplied by i + 1.
  const sizes = Array.from({ length: n }, (_, i) => i + 1);
  const total = (n * (n + 1)) / 2;
  const parts = unpack(
    input('x', [total]),
    sizes.map((size) => [size]),
  );
  const y = concat(
    parts.map((part, i) => mul(part, i + 1)),
    0,
  );
  test.each(['any', 'webgpu', 'cpu'] as const)('for %s', async (target) => {
    const bytes = toOnnx({ y }, { target });
    const widest = Math.max(
      0,
      ...fromBinary(ModelProtoSchema, bytes).graph!.node.flatMap(({ opType, input: read, output }) =>
        opType === 'Concat' ? [read.length] : opType === 'Split' ? [output.length] : [],
      ),
    );
    if (target === 'cpu') expect(widest).toBe(n === 1 ? 0 : n);
    else expect(widest).toBeLessThanOrEqual(7);
    const model = await loadModel(bytes, { threads: 1 });
    const x = Float32Array.from({ length: total }, (_, i) => i);
    const wanted = sizes.flatMap((size, part) => Array.from({ length: size }, (_, k) => ((part * (part + 1)) / 2 + k) * (part + 1)));
    expect([...((await model.run({ x: float32(x, [total]) }))['y']!.data as Float32Array)]).toEqual(wanted);
    await model.close();
  });
});
