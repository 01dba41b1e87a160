/** @file Every operation of our graphs on TensorFlow.js, by name. */
import { InputError } from '../io/errors.ts';
import { convKernels } from './tfjs-conv.ts';
import { elementwiseKernels } from './tfjs-elementwise.ts';
import type { Kernel, Kernels } from './tfjs-kernel.ts';
import { movementKernels } from './tfjs-movement.ts';
import { poolKernels } from './tfjs-pool.ts';
import { reduceKernels } from './tfjs-reduce.ts';
import { selectKernels } from './tfjs-select.ts';

const kernels: Kernels = {
  ...elementwiseKernels,
  ...movementKernels,
  ...reduceKernels,
  ...convKernels,
  ...poolKernels,
  ...selectKernels,
};

/**
 * The kernel of an operation.
 * @throws InputError for an operation that it does not have: products in a lower precision
 */
export function kernelOf(name: string): Kernel<never> {
  const kernel = Object.hasOwn(kernels, name) ? kernels[name] : undefined;
  if (!kernel) throw new InputError(`tfjs: has no operation ${name}; it computes in float32: leave --precision out, or take --device cpu`);
  return kernel;
}
