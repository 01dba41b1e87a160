/** @file What the driver's tool says of a GPU. */
import { expect, test } from 'vitest';
import { readGpu, slug } from './gpu.ts';

test('a line of the table', () => {
  expect(readGpu('NVIDIA H100 80GB HBM3, 550.54.15, 1234')).toEqual({ name: 'NVIDIA H100 80GB HBM3', driver: '550.54.15', used: 1234 });
  for (const line of ['', 'No devices were found', 'GPU, 550.54, [N/A]']) expect(readGpu(line)).toBeNull();
});
test('a file name', () => {
  expect(slug('NVIDIA GeForce RTX 4090 (Laptop)')).toBe('nvidia-geforce-rtx-4090-laptop');
});
