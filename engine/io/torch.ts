/** @file PyTorch's files (.pt, .pth, .bin, .pkl): values and tensors of a pickle that is read without executing it, each tensor by its range. */
import { InputError } from './errors.ts';
import { gather, type NumpyArray } from './numpy-values.ts';
import { isObject, isThing, type PickleObject, type PickleValue } from './pickle-values.ts';
import { openRanges } from './range-file.ts';
import type { SafetensorsFile, StoredTensor } from './safetensors.ts';
import { byteLength, elementBits } from './safetensors-header.ts';
import { openPickled, openZipped } from './torch-containers.ts';
import { isTensor, type TorchTensor } from './torch-values.ts';
import { openZip } from './zip.ts';

export { isObject, type PickleObject, type PickleValue } from './pickle-values.ts';
export { isTensor, type TorchTensor } from './torch-values.ts';

/** An open file. Tensors have the paths of their keys, joined by '/': those of a plain state_dict have its own names. */
export interface TorchFile extends SafetensorsFile {
  /** The pickled value with tensors in place. */
  readonly value: PickleValue;
  /** The tensor of a path, or undefined. */
  find(name: string): TorchTensor | NumpyArray | undefined;
}

type Stored = TorchTensor | NumpyArray;
const isArray = (value: PickleValue): value is NumpyArray => isThing(value) && value.kind === 'numpy.ndarray';

/** The elements of a tensor, contiguous. Only its own part of the storage is read. */
export async function readTensor(tensor: TorchTensor): Promise<StoredTensor> {
  const { dtype, shape, strides, offset, storage } = tensor;
  const width = elementBits(dtype) / 8;
  const total = byteLength(dtype, shape)!;
  if (total === 0) return { dtype, shape, bytes: new Uint8Array(0) };
  const last = shape.reduce((sum, d, axis) => sum + (d - 1) * strides[axis]!, offset);
  const bytes = await storage.read(offset * width, (last + 1) * width, dtype === 'C64' ? width / 2 : width);
  let expected = 1;
  const contiguous = shape.every((_, i) => {
    const axis = shape.length - 1 - i;
    const fits = shape[axis] === 1 || strides[axis] === expected;
    expected *= shape[axis]!;
    return fits;
  });
  return { dtype, shape, bytes: contiguous ? bytes : gather(bytes, { shape, strides, offset: 0 }, width) };
}

/** Limits of a walk over values, which may share parts and contain themselves. */
const MAX_DEPTH = 64;
const MAX_VISITS = 5_000_000;

/** Attribute `name` of a module, as pairs. */
function attribute({ state }: PickleObject, name: string): readonly (readonly [PickleValue, PickleValue])[] {
  const value = state instanceof Map ? state.get(name) : undefined;
  if (value instanceof Map) return [...value];
  // Newer modules keep their children in a dictionary's subclass whose items are in it already.
  return [];
}
/** A module of torch.nn, by the attributes that all have. */
const isModule = (value: PickleValue): value is PickleObject =>
  isObject(value) && value.state instanceof Map && value.state.has('_parameters') && value.state.has('_modules');

/** Every tensor and array with its path. Names of a module's parameters and buffers are those of its state_dict. */
function flatten(where: string, root: PickleValue): Map<string, Stored> {
  const found = new Map<string, Stored>();
  let visits = 0;
  const walk = (value: PickleValue, path: string, separator: string, depth: number): void => {
    if (++visits > MAX_VISITS || depth > MAX_DEPTH)
      throw new InputError(
        `${where}: values nested more than ${MAX_DEPTH} deep or more than ${MAX_VISITS} in all; no checkpoint is like that`,
      );
    if (isTensor(value) || isArray(value)) found.set(path, value);
    else if (isModule(value)) {
      for (const part of ['_parameters', '_buffers', '_modules'])
        for (const [name, child] of attribute(value, part))
          walk(child, path === '' ? String(name) : `${path}${separator}${String(name)}`, '.', depth + 1);
    } else {
      for (const [key, child] of entriesOf(value)) {
        const plain = typeof key === 'string' || typeof key === 'number' || typeof key === 'bigint';
        if (plain) walk(child, path === '' ? String(key) : `${path}/${key}`, '/', depth + 1);
      }
    }
  };
  walk(root, '', '/', 0);
  return found;
}
function entriesOf(value: PickleValue): Iterable<readonly [PickleValue, PickleValue]> {
  if (value instanceof Map) return value;
  if (Array.isArray(value)) return value.entries();
  return isObject(value) ? entriesOf(value.state) : [];
}

/** The state_dict of a module object of a pickle, by names joined by dots. */
export const moduleTensors = (where: string, module: PickleValue): ReadonlyMap<string, Stored> => flatten(where, module);

const ZIP_MAGIC = 0x504b0304;

/**
 * Opens a file of `torch.save` (zip or older), or a bare pickle with tensors such as NVlabs' networks.
 * @throws InputError naming file, byte and name for every function that is not known, and for damaged files
 */
export async function openTorch(path: string): Promise<TorchFile> {
  const file = await openRanges(path);
  const closers = [() => file.close()];
  const close = async (): Promise<void> => {
    for (const closer of closers) await closer();
  };
  try {
    if (file.size === 0) throw new InputError(`${path}: the file is empty; a file of torch.save expected`);
    const first = await file.read(0, Math.min(4, file.size));
    const zipped = first.length === 4 && new DataView(first.buffer, first.byteOffset).getUint32(0) === ZIP_MAGIC;
    let value: PickleValue;
    if (zipped) {
      const zip = await openZip(path);
      closers.push(() => zip.close());
      value = await openZipped(path, zip);
    } else value = await openPickled(file);
    return fileOf(path, value, close);
  } catch (error) {
    await close();
    throw error;
  }
}

function fileOf(path: string, value: PickleValue, close: () => Promise<void>): TorchFile {
  const tensors = flatten(path, value);
  const get = (name: string): Stored => {
    const tensor = tensors.get(name);
    if (!tensor) throw new InputError(`${path}: no tensor ${JSON.stringify(name)} among its ${tensors.size}`);
    return tensor;
  };
  return {
    value,
    names: [...tensors.keys()],
    metadata: {},
    find: (name) => tensors.get(name),
    info(name) {
      const of = get(name);
      const { dtype, shape } = isTensor(of) ? of : of.tensor;
      return { dtype, shape, begin: 0, end: byteLength(dtype, shape)! };
    },
    read: async (name) => {
      const of = get(name);
      return isTensor(of) ? readTensor(of) : of.tensor;
    },
    close,
  };
}

/** All of a file: its value, and every tensor contiguous under its path. Errors as in `openTorch`. */
export async function readTorch(path: string): Promise<{ readonly value: PickleValue; readonly tensors: Map<string, StoredTensor> }> {
  const file = await openTorch(path);
  try {
    const tensors = new Map<string, StoredTensor>();
    for (const name of file.names) tensors.set(name, await file.read(name));
    return { value: file.value, tensors };
  } finally {
    await file.close();
  }
}
