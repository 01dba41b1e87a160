/** @file Gradients of every family of networks with products in float16 and bfloat16, beside float32. */
import { describe, expect, test } from 'vitest';
import { networkFamilies } from './index.ts';
import { NETWORKS, precisionError } from './testing/precision-error.ts';

test('every family is here', () => {
  expect(Object.keys(NETWORKS)).toEqual(Object.keys(networkFamilies));
});
/** A few roundings one after the other: 2⁻¹¹ each in float16, 2⁻⁸ in bfloat16. */
describe.each([
  ['float16', 2e-3],
  ['bfloat16', 1.5e-2],
] as const)('%s', (precision, bound) => {
  test.each(Object.keys(NETWORKS))('%s', async (family) => {
    const { output, gradient } = await precisionError(family, precision);
    expect(output).toBeGreaterThan(0);
    expect(output).toBeLessThan(bound);
    expect(gradient).toBeGreaterThan(0);
    expect(gradient).toBeLessThan(bound);
  });
});
