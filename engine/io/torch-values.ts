/** @file PyTorch's tensors and storages as its files name them: which functions rebuild them, what views they are. */
import { InputError } from './errors.ts';
import { isThing, known, named, objectOf, type PickleThing, type PickleValue, size, sizes, text } from './pickle-values.ts';
import { byteLength, elementBits, type SafetensorsDtype } from './safetensors-header.ts';

/** A run of elements in a file, of which any range can be read. */
export interface TorchStorage extends PickleThing {
  readonly kind: 'storage';
  readonly dtype: SafetensorsDtype;
  /** Elements of `dtype`. */
  readonly elements: number;
  /** Bytes `begin` to `end`, little-endian elements of `width` bytes. */
  readonly read: (begin: number, end: number, width: number) => Promise<Uint8Array>;
}

/** A view of a storage. Sizes and strides count elements. */
export interface TorchTensor extends PickleThing {
  readonly kind: 'tensor';
  readonly storage: TorchStorage;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
}
export const isTensor = (value: PickleValue | undefined): value is TorchTensor => isThing(value) && value.kind === 'tensor';

interface TypeName extends PickleThing {
  readonly kind: 'storage class' | 'torch.dtype';
  readonly dtype: SafetensorsDtype;
}
const STORAGES: Readonly<Record<string, SafetensorsDtype>> = {
  DoubleStorage: 'F64',
  FloatStorage: 'F32',
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  LongStorage: 'I64',
  IntStorage: 'I32',
  ShortStorage: 'I16',
  CharStorage: 'I8',
  ByteStorage: 'U8',
  BoolStorage: 'BOOL',
  ComplexFloatStorage: 'C64',
  UntypedStorage: 'U8',
};
const DTYPES: Readonly<Record<string, SafetensorsDtype>> = {
  float64: 'F64',
  double: 'F64',
  float32: 'F32',
  float: 'F32',
  float16: 'F16',
  half: 'F16',
  bfloat16: 'BF16',
  int64: 'I64',
  long: 'I64',
  int32: 'I32',
  int: 'I32',
  int16: 'I16',
  short: 'I16',
  int8: 'I8',
  uint8: 'U8',
  uint16: 'U16',
  uint32: 'U32',
  uint64: 'U64',
  bool: 'BOOL',
  complex64: 'C64',
  float8_e4m3fn: 'F8_E4M3',
  float8_e5m2: 'F8_E5M2',
  float8_e4m3fnuz: 'F8_E4M3FNUZ',
  float8_e5m2fnuz: 'F8_E5M2FNUZ',
  float8_e8m0fnu: 'F8_E8M0',
};

/** A tensor repeated beyond its storage (stride 0) is refused above this many bytes: a few bytes of a file must not fill the memory. */
const MAX_REPEATED_BYTES = 2 ** 27;

function tensorOf(
  storage: PickleValue | undefined,
  offset: PickleValue,
  shape: PickleValue,
  stride: PickleValue,
  dtype?: SafetensorsDtype,
): TorchTensor {
  if (!isThing(storage) || storage.kind !== 'storage') throw new InputError('a tensor has no storage; the file is damaged');
  const from = storage as TorchStorage;
  const view = {
    shape: sizes('the shape of a tensor', shape ?? null),
    strides: sizes('the strides of a tensor', stride ?? null),
    offset: size('the offset of a tensor', offset ?? null),
    dtype: dtype ?? from.dtype,
  };
  checkView(view, (from.elements * elementBits(from.dtype)) / elementBits(view.dtype));
  return { kind: 'tensor', storage: from, ...view };
}

/** Errors: a view that reaches beyond its storage. */
function checkView({ shape, strides, offset, dtype }: Pick<TorchTensor, 'shape' | 'strides' | 'offset' | 'dtype'>, elements: number): void {
  const shown = `a tensor of shape (${shape.join(', ')}), strides (${strides.join(', ')}) and offset ${offset}`;
  if (strides.length !== shape.length) throw new InputError(`${shown}: strides and sizes differ in number; the file is damaged`);
  const bytes = byteLength(dtype, shape);
  if (bytes === undefined) throw new InputError(`${shown} is too large`);
  const last = shape.reduce((sum, d, axis) => sum + (d - 1) * strides[axis]!, offset);
  if (bytes > 0 && last >= elements)
    throw new InputError(`${shown} reaches beyond its storage of ${elements} elements; the file is damaged`);
  if (bytes > MAX_REPEATED_BYTES && bytes > (elements * elementBits(dtype)) / 8)
    throw new InputError(`${shown} repeats a storage of ${elements} elements too often; save it contiguous`);
}

function dtypeOf(value: PickleValue | undefined): SafetensorsDtype {
  if (!isThing(value) || value.kind !== 'torch.dtype') throw new InputError('a tensor has no torch.dtype; the file is damaged');
  return (value as TypeName).dtype;
}

function asTensor(value: PickleValue | undefined): TorchTensor {
  if (!isTensor(value)) throw new InputError('a parameter holds no tensor; the file is damaged');
  return value;
}
/** `_rebuild_from_type_v2(function, class, arguments, state)`: tensors of a subclass. */
function fromType([f, , args]: readonly PickleValue[]): PickleValue {
  if (!isThing(f) || !f.call || !Array.isArray(args))
    throw new InputError('a tensor of a subclass has no function that rebuilds it; the file is damaged');
  return f.call(args);
}

/** Containers of modules whose attributes alone are kept. */
const CONTAINERS = ['Sequential', 'ModuleList', 'ModuleDict', 'ParameterList', 'ParameterDict'];

const functions: ReadonlyMap<string, PickleThing> = new Map<string, PickleThing>([
  ...Object.entries(STORAGES).flatMap(([name, dtype]): [string, PickleThing][] => {
    const type = { kind: 'storage class', dtype } as TypeName;
    return [
      [`torch.${name}`, type],
      [`torch.storage.${name}`, type],
      [`torch.cuda.${name}`, type],
    ];
  }),
  ...Object.entries(DTYPES).map(([name, dtype]): [string, PickleThing] => [`torch.${name}`, { kind: 'torch.dtype', dtype } as TypeName]),
  [
    'torch._utils._rebuild_tensor',
    known(([storage, offset, shape, stride]) => tensorOf(storage, offset ?? null, shape ?? null, stride ?? null)),
  ],
  [
    'torch._utils._rebuild_tensor_v2',
    known(([storage, offset, shape, stride]) => tensorOf(storage, offset ?? null, shape ?? null, stride ?? null)),
  ],
  [
    'torch._utils._rebuild_tensor_v3',
    known(([storage, offset, shape, stride, , , dtype]) =>
      tensorOf(storage, offset ?? null, shape ?? null, stride ?? null, dtypeOf(dtype)),
    ),
  ],
  ['torch._utils._rebuild_parameter', known(([data]) => asTensor(data))],
  ['torch._utils._rebuild_parameter_with_state', known(([data]) => asTensor(data))],
  ['torch._tensor._rebuild_from_type_v2', known(fromType)],
  ['torch.Size', known(([shape]) => (Array.isArray(shape) ? shape : []))],
  ['torch.device', known(([name]) => text('a torch.device', name))],
  ['torch.Tensor', named('torch.Tensor')],
  ['torch.nn.parameter.Parameter', named('torch.nn.parameter.Parameter')],
  ...CONTAINERS.map((name): [string, PickleThing] => [
    `torch.nn.modules.container.${name}`,
    known(() => objectOf(`torch.nn.modules.container.${name}`)),
  ]),
]);
/** PyTorch's functions and types by their full names. */
export const findTorch = (name: string): PickleThing | undefined => functions.get(name);

/** What a persistent id says of a storage: ('storage', class, key, location, size[, view]). */
export interface StorageId {
  readonly key: string;
  readonly dtype: SafetensorsDtype;
  readonly elements: number;
  /** A part of the storage `key`, in elements: old files only. */
  readonly view?: { readonly key: string; readonly offset: number };
}
export function storageId(id: PickleValue): StorageId {
  if (!Array.isArray(id) || id[0] !== 'storage' || id.length < 5)
    throw new InputError("a persistent id is no ('storage', …); the file is damaged");
  const [, type, key, , elements, view] = id;
  if (!isThing(type) || type.kind !== 'storage class') throw new InputError('a storage has no class; the file is damaged');
  const of = {
    key: typeof key === 'number' ? String(key) : text('the key of a storage', key),
    dtype: (type as TypeName).dtype,
    elements: size('the size of a storage', elements),
  };
  if (!Array.isArray(view)) return of;
  const [viewKey, offset, length] = view;
  return {
    ...of,
    elements: size('the size of a view', length),
    view: { key: text('the key of a view', viewKey), offset: size('the offset of a view', offset) },
  };
}
