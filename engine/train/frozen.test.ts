/** @file Weights held in fewer bits: their values, and runs that use them. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema } from 'onnx-buf';
import * as ort from 'onnxruntime-node';
import { afterAll, describe, expect, test } from 'vitest';
import { tinyCurve, tinyRun } from '../../losses/testing/tiny-runs.ts';
import { roundToBlocks } from '../graph/blocks.ts';
import { toOnnx } from '../graph/onnx.ts';
import { input } from '../graph/ops/leaf.ts';
import { matmul } from '../graph/ops/linalg.ts';
import { roundTo } from '../graph/precision.ts';
import { simplify } from '../graph/simplify.ts';
import { topological } from '../graph/tensor.ts';
import { fillNormal, streamKey } from '../random/philox.ts';
import { ortRuntime } from '../run/ort.ts';
import { type FrozenStorage, frozenStore } from './frozen.ts';
import type { Weight, Weights } from './weights.ts';

const scratch = mkdtempSync(join(tmpdir(), 'onestep-frozen-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const weight = (shape: readonly number[]) => {
  const data = new Float32Array(shape.reduce((n, d) => n * d, 1));
  fillNormal(data, streamKey(1, 0, shape.join()), data.length);
  return { shape, data };
};
/** What a store makes of values. */
const rounded = ({ shape, data }: Weight, storage: FrozenStorage): Float32Array =>
  storage === 'int8' ? roundToBlocks(data, shape[0]!, 8) : data.map(roundTo.float16);

describe.each(['float16', 'int8'] as const)('%s', (storage) => {
  test.each([[[64, 32]], [[16, 8, 3, 3]], [[7, 200]]])('a weight of shape %j has the rounded values', async (shape) => {
    const store = frozenStore(storage)!;
    const given = weight(shape);
    const held = store.hold(given)!;
    const runtime = ortRuntime({ threads: 1 });
    const state = runtime.state(store.held);
    const { program } = await runtime.compile({ program: { outputs: { held }, updates: new Map() } }, state);
    const { held: found } = await program!.run({});
    await program!.close();
    expect(found!.shape).toEqual(shape);
    // −0 is 0 here: codes have one zero.
    const plain = (data: ArrayLike<number>): number[] => Array.from(data, (v) => v + 0);
    expect(plain(found!.data as Float32Array)).toEqual(plain(rounded(given, storage)));
    const bytes = Object.values(store.held).reduce((n, { data }) => n + data.byteLength, 0);
    expect(bytes / given.data.byteLength).toBeLessThan(storage === 'int8' ? 0.4 : 0.51);
  });
  test('a weight used again is widened again, before ONNX Runtime and after its optimizer', async () => {
    const store = frozenStore(storage)!;
    const given = weight([64, 64]);
    const rounded = storage === 'int8' ? 'uint8' : 'float16';
    const x = input('x', [64, 64]);
    const y = matmul(store.hold(given)!, matmul(store.hold(given)!, x));
    expect(Object.values(store.held).filter(({ dtype }) => dtype === rounded)).toHaveLength(1); // held once
    expect(topological(simplify([y])).filter(({ op }) => op.name === 'cast')).toHaveLength(2);
    const path = join(scratch, `${storage}.onnx`);
    const options = { graphOptimizationLevel: 'all', optimizedModelFilePath: path, logSeverityLevel: 3 } as const;
    await (await ort.InferenceSession.create(toOnnx({ y }), options)).release();
    const { graph } = fromBinary(ModelProtoSchema, readFileSync(path));
    expect(graph!.node.filter(({ opType }) => opType === 'Cast')).toHaveLength(2);
  });
  test('small weights and vectors stay constants', () => {
    const store = frozenStore(storage)!;
    for (const shape of [[10, 10], [4096]]) expect(store.hold(weight(shape))).toBeNull();
  });

  describe('training', () => {
    const STEPS = 4;
    /** A network of whose weights some are large enough. */
    const run = () => tinyRun('dmd2', 'dit', { ratio: 2 }, STEPS);
    const curveOf = async (frozen: FrozenStorage, change = (teacher: Weights): Weights => teacher, more: object = {}, loop = false) => {
      const { settings, weights } = await run();
      const changed = { ...weights, teacher: change(weights['teacher']!) };
      return tinyCurve(
        ortRuntime({ threads: 1, loop }),
        { settings: { ...settings, ...more, frozen }, weights: changed },
        STEPS,
        loop ? 3 : 1,
      );
    };
    const roundAll = (teacher: Weights): Weights =>
      new Map(
        [...teacher].map(([name, w]) => [name, w.shape.length >= 2 && w.data.length >= 1024 ? { ...w, data: rounded(w, storage) } : w]),
      );

    test('is that of a teacher with rounded weights', async () => {
      const [held, plain, other] = [await curveOf(storage), await curveOf('float32', roundAll), await curveOf('float32')];
      const far = (a: typeof held, b: typeof held): number =>
        Math.max(...a.terms.map((step, i) => Math.abs(step['student/loss']! - b.terms[i]!['student/loss']!) || 0));
      expect(far(held, plain)).toBeLessThan(1e-6);
      expect(far(held, other)).toBeGreaterThan(1e-6);
      expect(Object.keys(held.weights)).toEqual(Object.keys(other.weights)); // a checkpoint holds nothing of it
    }, 60_000);
    test('in parts on threads, and several steps in one Loop', async () => {
      const plain = await curveOf(storage);
      expect({ ...(await curveOf(storage, undefined, {}, true)), seconds: 0 }).toEqual({ ...plain, seconds: 0 });
      const { terms } = await curveOf(storage, undefined, { parts: 2, beside: 2, stage: await half() });
      expect(terms.flatMap((step) => Object.values(step)).every(Number.isFinite)).toBe(true);
      expect(terms).toHaveLength(STEPS);
    }, 60_000);
    /** The stage of half the batch. */
    const half = async () => {
      const { stage } = (await run()).settings;
      return { ...stage, batch: stage.batch / 2 };
    };
  });
});

test('float32 is no store', () => expect(frozenStore('float32')).toBeNull());
