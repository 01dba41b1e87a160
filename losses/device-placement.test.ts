/** @file Training steps of every network and every method stay on WebGPU: a node on the CPU would fetch its inputs back on every step. */
import { expect, test } from 'vitest';
import { adapterTest, onAdapter } from '../engine/testing/adapter.ts';
import { nodesElsewhere } from '../engine/testing/webgpu/placement.ts';
import { networkNames } from '../models/foreign/diffusers/networks.ts';
import { networkFamilies } from '../models/index.ts';
import { methodNames, NETWORKS } from './testing/tiny-runs.ts';

async function check(what: string, atLeast: number): Promise<void> {
  const { code, stdout, stderr } = await onAdapter(new URL('./testing/placement.ts', import.meta.url), [what]);
  expect(code, stderr.slice(-1000)).toBe(0);
  const { compiled, elsewhere } = JSON.parse(stdout) as { readonly compiled: number; readonly elsewhere: readonly string[] };
  expect(elsewhere.map((name) => `${name}: ${nodesElsewhere(stderr)[name]}`)).toEqual([]);
  expect(compiled).toBeGreaterThanOrEqual(atLeast);
}
test('no family is left out', () => expect(Object.keys(networkFamilies).filter((name) => !(name in NETWORKS))).toEqual([]));
adapterTest('every network', () => check('networks', Object.keys(NETWORKS).length));
adapterTest('every network of diffusers, with its gradients', () => check('foreign', networkNames.length));
adapterTest('every method', () => check('methods', methodNames.length));
