/** @file Bytes that nobody exported: every file is imported or refused in one line, and nothing hangs. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { type ModelProto, ModelProtoSchema } from 'onnx-buf';
import { expect, test } from 'vitest';
import { InputError } from '../../../engine/io/errors.ts';
import { importOnnxBytes } from './import.ts';
import { nodeCases } from './testing/cases.ts';
import { oneNodeModel } from './testing/one-node.ts';

const ROUNDS = Number(process.env['ONNX_FUZZ'] ?? 3);
const golden = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(fileURLToPath(new URL(`../../../engine/testing/golden/onnx/${name}`, import.meta.url))));

/** A generator of whole numbers below a bound, the same on every run. */
function dice(seed: number): (bound: number) => number {
  let state = seed >>> 0;
  return (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0; // Numerical Recipes' linear congruential generator
    return Math.floor((state / 2 ** 32) * bound);
  };
}

const faults: string[] = [];
/** Imports; what is thrown must be an InputError of one line. */
function attempt(what: string, bytes: Uint8Array): void {
  const start = performance.now();
  try {
    importOnnxBytes(bytes, { trainable: [] }, 'fuzz');
  } catch (error) {
    const { message } = error as Error;
    if (!(error instanceof InputError) || /\n/.test(message) || message.length > 2000)
      faults.push(`${what}: ${(error as Error).stack?.slice(0, 400)}`);
    else if (/undefined|is not a function|Cannot read|internal:|not iterable/.test(message))
      faults.push(`${what}: ${message} ${((error as Error).cause as Error)?.stack?.slice(0, 500)}`);
  }
  const ms = performance.now() - start;
  if (ms > 3000) faults.push(`${what}: took ${ms} ms`);
}

function mutated(bytes: Uint8Array, roll: (bound: number) => number): Uint8Array {
  const out = bytes.slice();
  const kind = roll(4);
  if (kind === 0) return out.subarray(0, roll(out.length));
  for (let i = 0; i <= roll(8); i++) out[roll(out.length)] = kind === 1 ? roll(256) : out[roll(out.length)]! ^ (1 << roll(8));
  if (kind === 3) out.copyWithin(roll(out.length), roll(out.length), roll(out.length));
  return out;
}

const HOSTILE = [0n, -1n, 1n, 2n, 7n, 2n ** 31n, 2n ** 40n, 2n ** 53n, 2n ** 63n - 1n, -(2n ** 63n)];
/** Changes numbers, names and types where they mean something. */
function twisted(model: ModelProto, roll: (bound: number) => number): Uint8Array {
  const graph = model.graph!;
  const node = graph.node[roll(graph.node.length)]!;
  const number = HOSTILE[roll(HOSTILE.length)]!;
  const pick = <T>(list: readonly T[]): T | undefined => list[roll(list.length)];
  const tensors = [...graph.initializer, ...graph.node.flatMap((n) => n.attribute.flatMap((a) => (a.t ? [a.t] : [])))];
  const tensor = pick(tensors);
  const attribute = pick(node.attribute);
  switch (roll(10)) {
    case 0:
      if (attribute) Object.assign(attribute, { i: number, ints: attribute.ints.map((v) => (roll(2) ? number : v)) });
      break;
    case 1:
      if (attribute) attribute.type = roll(12) as never;
      break;
    case 2:
      node.opType = pick(graph.node)!.opType;
      break;
    case 3:
      node.input[roll(node.input.length + 1)] = pick(graph.node)!.output[0] ?? '';
      break;
    case 4:
      if (tensor) tensor.dims = tensor.dims.map((d) => (roll(2) ? number : d));
      break;
    case 5:
      if (tensor) tensor.dataType = roll(27);
      break;
    case 6:
      if (tensor?.dataType === 7 && tensor.rawData.length > 0)
        new DataView(tensor.rawData.buffer, tensor.rawData.byteOffset).setBigInt64(8 * roll(tensor.rawData.length / 8), number, true);
      break;
    case 7:
      node.input.splice(roll(node.input.length), 1);
      break;
    case 8:
      node.attribute.splice(roll(node.attribute.length), 1);
      break;
    default: {
      const type = pick(graph.input)?.type?.value;
      if (type?.case === 'tensorType')
        for (const d of type.value.shape?.dim ?? []) if (roll(2)) d.value = { case: 'dimValue', value: number };
    }
  }
  return toBinary(ModelProtoSchema, model);
}

test('changed bytes of exported networks', () => {
  const roll = dice(1);
  const files = ['clip-text.dynamo20.onnx', 'vae-encoder.dynamo18.onnx', 't5.script15.onnx'].map(golden);
  for (let i = 0; i < 200 * ROUNDS; i++) attempt(`bytes ${i}`, mutated(files[i % files.length]!, roll));
  for (let i = 0; i < 200 * ROUNDS; i++) attempt(`twist ${i}`, twisted(fromBinary(ModelProtoSchema, files[i % files.length]!), roll));
  expect(faults.splice(0)).toEqual([]);
});
test('hostile numbers in single nodes', () => {
  const roll = dice(2);
  for (let round = 0; round < 12 * ROUNDS; round++)
    for (const c of nodeCases) attempt(`${c.op} ${c.title} ${round}`, twisted(fromBinary(ModelProtoSchema, oneNodeModel(c)), roll));
  expect(faults.splice(0)).toEqual([]);
});
test('random bytes', () => {
  const roll = dice(3);
  for (let i = 0; i < 3000 * ROUNDS; i++)
    attempt(
      `random ${i}`,
      Uint8Array.from({ length: roll(200) }, () => roll(256)),
    );
  expect(faults.splice(0)).toEqual([]);
});
