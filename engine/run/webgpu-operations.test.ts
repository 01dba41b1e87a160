/** @file Every operation on WebGPU: it stays on the provider and computes what float64 does. */
import { expect } from 'vitest';
import { adapterTest, onAdapter } from '../testing/adapter.ts';
import { nodesElsewhere } from '../testing/webgpu/placement.ts';

/** Operations on whole numbers of 64 bits, which WebGPU does not have: the CPU handles the numbers. No network and no method uses one, but what is recomputed waits for one. */
const WHOLE_NUMBERS =
  /^(after|barrier|gather|scatterAdd|gatherElements|scatterAddElements|embedding|oneHot) |\((of indices as a switch|an index as a factor)\)$/;
/** What only adapters with 16-bit floats have. */
const HALF = 'cast (through half precision and back)';
/** What float32 implementations of one operation agree to, relative to max(1, largest value). */
const CLOSE = 2e-5;

adapterTest('every operation, with its gradients', async () => {
  const { code, stdout, stderr } = await onAdapter(new URL('../testing/webgpu/operations.ts', import.meta.url));
  expect(code, stderr.slice(-1000)).toBe(0);
  const { elsewhere, deviations } = JSON.parse(stdout) as { elsewhere: string[]; deviations: Record<string, number | string> };
  const nodes = nodesElsewhere(stderr);
  expect(elsewhere.filter((name) => !WHOLE_NUMBERS.test(name)).map((name) => `${name}: ${nodes[name]}`)).toEqual([]);
  expect(elsewhere.length).toBeGreaterThan(0); // the check sees what is put on the CPU
  expect(Object.keys(deviations).length).toBeGreaterThan(200);
  const { [HALF]: half, ...others } = deviations;
  expect(Object.entries(others).filter(([, off]) => !(Number(off) <= CLOSE))).toEqual([]);
  if (typeof half === 'string') expect(half).toMatch(/^InputError: webgpu: .*f16/);
});
