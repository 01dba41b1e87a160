/** @file Values on a device, behind a face that cannot read them: only a session brings one back. */
import * as ort from 'onnxruntime-node';
import { toOnnx } from '../graph/onnx.ts';
import { input } from '../graph/ops/leaf.ts';
import { apply, type DType, type Op } from '../graph/tensor.ts';
import type { HostTensor } from './runtime.ts';

/** A value on the device. Nothing of it can be read: getData() of the tensor behind it would end the process. */
export interface Resident {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** For a session's input. Reading the tensor is refused. */
  feed(): ort.Tensor;
  free(): void;
}

/** Takes charge of a tensor that a session left on the device. */
export function resident(tensor: ort.Tensor): Resident {
  if (tensor.location !== 'gpu-buffer') throw new TypeError(`internal: a tensor on ${tensor.location} is no value of the device`);
  Object.defineProperty(tensor, 'getData', {
    value: () => Promise.reject(new TypeError('internal: a value on the device is read through a session')),
  });
  let freed = false;
  return {
    dtype: tensor.type as DType,
    shape: [...tensor.dims],
    feed() {
      if (freed) throw new TypeError('internal: a value on the device is used after it was freed');
      return tensor;
    },
    free() {
      if (!freed) tensor.dispose();
      freed = true;
    },
  };
}

/** Moves values between main memory and a device. */
export interface Carrier {
  upload(value: HostTensor): Promise<Resident>;
  download(value: Resident): Promise<HostTensor>;
}

const copy: Op<null> = {
  name: 'copy',
  infer: ([x]) => [x!],
  vjp: null,
  onnx: (_, names, emit) => [emit.node('Identity', names)],
  reference: ([x]) => [x!.data],
};

/** Sessions of one Identity node, one for each type and shape and direction. */
export function openCarrier(provider: string): Carrier {
  const sessions = new Map<string, Promise<ort.InferenceSession>>();
  const session = (dtype: DType, shape: readonly number[], to: 'cpu' | 'gpu-buffer'): Promise<ort.InferenceSession> => {
    const key = `${dtype} ${shape.join()} ${to}`;
    const made =
      sessions.get(key) ??
      ort.InferenceSession.create(toOnnx({ y: apply(copy, [input('x', shape, dtype)], null) }, { target: 'any' }), {
        executionProviders: [provider],
        logSeverityLevel: 3,
        preferredOutputLocation: to,
      });
    sessions.set(key, made);
    return made;
  };
  return {
    async upload({ dtype, shape, data }) {
      const { y } = await (await session(dtype, shape, 'gpu-buffer')).run({
        x: new ort.Tensor(dtype as 'float32', data as Float32Array, shape),
      });
      return resident(y!);
    },
    async download(value) {
      const { y } = await (await session(value.dtype, value.shape, 'cpu')).run({ x: value.feed() });
      return { dtype: value.dtype, shape: value.shape, data: y!.data as HostTensor['data'] };
    },
  };
}
