/** @file A run with recomputed values is the run without them, but for rounding, and holds less. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { attempt } from '../testing/command.ts';
import { loadModel } from './model.ts';

const scratch = mkdtempSync(join(tmpdir(), 'onestep-recompute-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const NETWORK = ['--channels', '16', '--multipliers', '1,2', '--blocks', '1', '--attention', '14'];
const RUN = ['--data', 'digits', '--steps', '3', '--batch', '8', '--threads', '1', '--beside', '1', '--sample-every', '0'];

test('training', { timeout: 60_000 }, async () => {
  const weights = [];
  const megabytes = [];
  for (const recompute of ['off', 'blocks']) {
    const args = ['train', ...NETWORK, ...RUN, '--recompute', recompute, '--out', join(scratch, recompute)];
    const dry = await attempt(...args, '--dry-run', '--json');
    megabytes.push(JSON.parse(dry.stdout).activationMegabytes);
    const { code, stderr } = await attempt(...args);
    expect(code, stderr).toBe(0);
    weights.push((await loadModel(join(scratch, recompute))).weights);
  }
  expect(megabytes[1]).toBeLessThan(0.75 * megabytes[0]!);
  // ONNX Runtime fuses a convolution that is computed twice with other neighbours than one that is computed once. Adam divides by the gradient's size, so that
  // the rounding of small gradients shows: three steps of 1e-3 move a weight by 3e-3 at most, one part in a hundred of which is compared.
  const [a, b] = weights as [(typeof weights)[0], (typeof weights)[0]];
  for (const [name, { data }] of a!) expect(Math.max(...data.map((v, i) => Math.abs(v - b!.get(name)!.data[i]!))), name).toBeLessThan(3e-5);
});
