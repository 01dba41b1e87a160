/** @file Weights in blocks of few bits: how far rounding moves them, that the file holds exactly what was rounded, and that ONNX Runtime computes with it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema } from 'onnx-buf';
import { expect, test } from 'vitest';
import { loadModel } from '../run/ort.ts';
import { float32 } from '../run/runtime.ts';
import { uniform } from '../testing/gradcheck.ts';
import { expectClose } from '../testing/parity.ts';
import { type Bits, BLOCK, exactBlocks, packed, roundToBlocks, turned } from './blocks.ts';
import * as G from './index.ts';
import { toOnnxFiles } from './onnx.ts';

const draw = (name: string, size: number): Float32Array => Float32Array.from(uniform(name, size, -1, 1));

test.each<Bits>([4, 8])('%i bits: each value is off by at most a scale, most by half of one, and the extreme one not at all', (bits) => {
  const [rows, length] = [3, 50];
  const data = draw(`round ${bits}`, rows * length);
  const rounded = roundToBlocks(data, rows, bits);
  for (let row = 0; row < rows; row++)
    for (let at = 0; at < length; at += BLOCK) {
      const range = [row * length + at, row * length + Math.min(at + BLOCK, length)] as const;
      const block = data.subarray(...range);
      const extreme = block.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a), 0);
      const scale = Math.abs(extreme) / 2 ** (bits - 1);
      rounded.subarray(...range).forEach((v, i) => {
        // What lies opposite to the extreme value has one step less.
        const limit = -block[i]! * Math.sign(extreme) > scale * (2 ** (bits - 1) - 1) ? 1 : 0.5;
        expect(Math.abs(v - block[i]!)).toBeLessThanOrEqual(limit * scale * (1 + 1e-6));
      });
      expect(rounded[data.indexOf(extreme)]).toBe(extreme);
    }
});
test.each<Bits>([4, 8])('%i bits: rounded values are found again exactly; others are not held', (bits) => {
  const data = draw(`exact ${bits}`, 4 * 40);
  expect(exactBlocks(data, 4, bits)).toBeNull();
  const rounded = roundToBlocks(data, 4, bits);
  const { codes, scales, perRow } = exactBlocks(rounded, 4, bits)!;
  expect(perRow).toBe(2);
  const again = Float32Array.from(rounded, (_, i) => {
    const block = Math.floor(i / 40) * 2 + Math.floor((i % 40) / BLOCK);
    return (codes[block * BLOCK + ((i % 40) % BLOCK)]! - 2 ** (bits - 1)) * scales[block]!;
  });
  expectClose('stored', again, Array.from(rounded), 0);
  expectClose('rounded twice', roundToBlocks(rounded, 4, bits), Array.from(rounded), 0);
  expect(exactBlocks(new Float32Array(64), 2, bits)!.scales).toEqual(new Float32Array(2));
});
test('codes of four bits: the first in the lower half; turning twice changes nothing', () => {
  expect(packed(Uint8Array.of(1, 2, 15, 0))).toEqual(Uint8Array.of(0x21, 0x0f));
  expect(turned(Float32Array.of(1, 2, 3, 4, 5, 6), 2, 3)).toEqual(Float32Array.of(1, 4, 2, 5, 3, 6));
});

/** A dense layer, a convolution and a table, of sizes that fill blocks and that do not. */
function network(bits: Bits, width: number) {
  const weight = (name: string, shape: readonly number[]): G.Tensor =>
    G.constant(
      roundToBlocks(
        draw(
          name,
          shape.reduce((a, b) => a * b, 1),
        ),
        shape[0]!,
        bits,
      ),
      shape,
    );
  const x = G.input('x', ['N', 3, width]);
  const dense = G.linear(x, weight('dense', [48, width]), G.constant(draw('bias', 48), [48])); // [N, 3, 48]
  const image = G.conv2d(dense.reshape(['N', 4, 6, 6]), weight('conv', [32, 4, 3, 3]), { padding: 1 });
  const table = G.gather(weight('table', [36, 40]), G.constant(BigInt64Array.of(3n, 35n), [2]), 0);
  return G.simplify([dense, image, table.sum().add(image.mul(0).sumPerSample())]);
}
test.each<readonly [Bits, number]>([
  [4, 64],
  [4, 50],
  [8, 64],
  [8, 50],
])('%i bits, %i wide: a file of rounded weights computes what they do', async (bits, width) => {
  const [dense, image, table] = network(bits, width) as [G.Tensor, G.Tensor, G.Tensor];
  const [whole, few] = (['float32', `int${bits}`] as const).map((storage) => G.toOnnx({ dense, image, table }, { storage })) as [
    Uint8Array,
    Uint8Array,
  ];
  const graph = fromBinary(ModelProtoSchema, few).graph!;
  expect(graph.node.filter((n) => n.opType === 'MatMulNBits')).toHaveLength(1);
  // No weight is left in float32 beside the codes.
  expect(graph.initializer.filter((t) => t.dataType === 1 && t.rawData.length >= 4096)).toEqual([]);
  expect(few.length).toBeLessThan((bits === 4 ? 0.42 : 0.55) * whole.length);
  const feeds = { x: float32(draw('x', 2 * 3 * width), [2, 3, width]) };
  const [a, b] = [await loadModel(whole, { threads: 1 }), await loadModel(few, { threads: 1 })];
  const [want, got] = [await a.run(feeds), await b.run(feeds)];
  for (const name of ['dense', 'image', 'table']) expectClose(name, got[name]!.data, Array.from(want[name]!.data as Float32Array), 1e-5);
  await Promise.all([a.close(), b.close()]);
});
test('weights that were not rounded stay as they are', () => {
  const y = G.matmul(G.input('x', ['N', 64]), G.constant(draw('plain', 64 * 32), [64, 32]));
  const graph = fromBinary(ModelProtoSchema, G.toOnnx({ y }, { storage: 'int4' })).graph!;
  expect(graph.node.map((n) => n.opType)).toEqual(['MatMul']);
});

test('large weights in a file beside the model, in pages', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'external-'));
  try {
    const y = G.linear(G.input('x', ['N', 40]), G.constant(draw('w', 48 * 40), [48, 40]), G.constant(draw('b', 48), [48]));
    const z = G.matmul(y, G.constant(draw('v', 48 * 30), [48, 30]));
    const { model, external } = toOnnxFiles({ z }, { external: 'net.onnx.data' });
    const tensors = fromBinary(ModelProtoSchema, model).graph!.initializer.filter((t) => t.externalData.length > 0);
    expect(tensors.map((t) => Object.fromEntries(t.externalData.map(({ key, value }) => [key, value])))).toEqual([
      { location: 'net.onnx.data', offset: '0', length: String(4 * 48 * 40) },
      { location: 'net.onnx.data', offset: '8192', length: String(4 * 48 * 30) },
    ]);
    await writeFile(join(folder, 'net.onnx'), model);
    await writeFile(join(folder, 'net.onnx.data'), Buffer.concat(external));
    const [outside, inside] = [await loadModel(join(folder, 'net.onnx'), { threads: 1 }), await loadModel(G.toOnnx({ z }), { threads: 1 })];
    const feeds = { x: float32(draw('x', 80), [2, 40]) };
    expect((await outside.run(feeds))['z']!.data).toEqual((await inside.run(feeds))['z']!.data);
    await Promise.all([outside.close(), inside.close()]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
