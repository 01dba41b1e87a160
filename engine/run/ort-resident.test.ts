/** @file Values on a device cannot be read by mistake. */
import * as ort from 'onnxruntime-node';
import { expect, test } from 'vitest';
import { resident } from './ort-resident.ts';

/** What a session leaves on a device, with a getData() that tells when it is called. */
function onDevice(): { readonly tensor: ort.Tensor; readonly calls: string[] } {
  const calls: string[] = [];
  const tensor = ort.Tensor.fromGpuBuffer({} as never, {
    dataType: 'float32',
    dims: [2],
    download: async () => {
      calls.push('download');
      return Float32Array.of(1, 2);
    },
    dispose: () => void calls.push('dispose'),
  });
  return { tensor, calls };
}

test('getData of what is fed is refused and never reaches the device', async () => {
  const { tensor, calls } = onDevice();
  const value = resident(tensor);
  await expect(value.feed().getData()).rejects.toThrow('read through a session');
  expect(() => value.feed().data).toThrow();
  expect(calls).toEqual([]);
});

test('a value is freed once and not used afterwards', () => {
  const { tensor, calls } = onDevice();
  const value = resident(tensor);
  value.free();
  value.free();
  expect(calls).toEqual(['dispose']);
  expect(() => value.feed()).toThrow('after it was freed');
});

test('a tensor in main memory is refused', () => {
  expect(() => resident(new ort.Tensor('float32', Float32Array.of(1), [1]))).toThrow('internal');
});
