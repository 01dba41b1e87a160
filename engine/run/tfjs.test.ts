/** @file Every operation on TensorFlow.js computes what float64 does, on each of its backends that Node can load from the package registry. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { leafOf } from '../graph/ops/leaf.ts';
import { evaluate } from '../graph/reference.ts';
import { type Tensor, topological } from '../graph/tensor.ts';
import { allCases } from '../testing/cases/index.ts';
import { derivativesOf, type OpCase, pointsOf } from '../testing/gradcheck.ts';
import { expectClose, FLOAT32, hostFeeds } from '../testing/parity.ts';
import { tfjsRuntime } from './tfjs.ts';
import { kernelOf } from './tfjs-kernels.ts';
import { plainLibrary } from './tfjs-library.ts';

/** Values, and gradients of both orders, of a case. */
function outputsOf(c: OpCase): Readonly<Record<string, Tensor>> {
  const { y, first, second } = derivativesOf(c);
  return Object.fromEntries([y, ...first, ...second].map((t, i) => [String(i), t]));
}

describe.each(['wasm', 'cpu'] as const)('backend %s', (backend) => {
  const runtime = tfjsRuntime(async () => (await plainLibrary(backend))!);
  test.each(allCases.map((c) => [`${c.op} (${c.title})`, c] as const))('%s', async (name, c) => {
    const outputs = outputsOf(c);
    const tensors = Object.values(outputs);
    const { program } = await runtime.compile({ program: { outputs, updates: new Map() } }, runtime.state({}));
    for (const [point, given] of pointsOf(c)) {
      const values = { ...given, ...derivativesOf(c).projections };
      const expected = evaluate(tensors, values);
      const actual = await program!.run(hostFeeds(tensors, values));
      Object.keys(outputs).forEach((key, i) => {
        expect(actual[key]!.shape).toEqual(expected[i]!.shape);
        expectClose(`${name} at ${point}: output ${key}`, actual[key]!.data, expected[i]!.data, FLOAT32);
      });
    }
    await program!.close();
  });
});
