/** @file The three forms of PyTorch's files: zip, the older sequence of pickles before raw storages, and a bare pickle with such sequences inside. */
import { InputError } from './errors.ts';
import { swapBytes } from './numpy-values.ts';
import { unpickle } from './pickle.ts';
import { findKnown } from './pickle-globals.ts';
import { PickleTruncated } from './pickle-reader.ts';
import { bytesOf, isThing, known, type PickleValue, text } from './pickle-values.ts';
import type { RangeFile } from './range-file.ts';
import { elementBits } from './safetensors-header.ts';
import { type StorageId, storageId, type TorchStorage } from './torch-values.ts';
import type { ZipFile } from './zip.ts';

/** Bytes that can be read by range, of a file or in memory. */
export type Ranges = Pick<RangeFile, 'path' | 'size' | 'read'>;
export const memoryRanges = (path: string, bytes: Uint8Array): Ranges => ({
  path,
  size: bytes.length,
  read: async (position, length) => {
    if (position + length > bytes.length)
      throw new InputError(`${path}: bytes ${position} to ${position + length} are wanted of ${bytes.length}; the file is damaged`);
    return bytes.subarray(position, position + length);
  },
});

/** The first number of an older file. */
const MAGIC = 0x1950a86a20f9469cfc6cn;
const LEGACY_PROTOCOL = 1001;
/** Bytes that are read first where a file begins with pickles. */
const FIRST_BYTES = 2 ** 20;
/** A pickle that is longer is refused: what is in it is held in memory. */
const MAX_PICKLE_BYTES = 2 ** 32;
const COUNT_BYTES = 8;

/** Bytes of a storage that begins somewhere in `ranges`. */
const reader =
  (read: (begin: number, end: number) => Promise<Uint8Array>, bigEndian: boolean): TorchStorage['read'] =>
  async (begin, end, width) => {
    const bytes = await read(begin, end);
    return bigEndian ? swapBytes(bytes, width) : bytes;
  };
const bytesIn = ({ elements, dtype }: Pick<TorchStorage, 'elements' | 'dtype'>): number => (elements * elementBits(dtype)) / 8;

/** Runs `parse` on more and more of a file's beginning, until it holds the pickles. */
async function growing<T>(file: Ranges, parse: (bytes: Uint8Array) => T): Promise<T> {
  for (let length = FIRST_BYTES; ; length *= 4) {
    const all = length >= file.size;
    try {
      return parse(await file.read(0, Math.min(length, file.size)));
    } catch (error) {
      if (all || !(error instanceof PickleTruncated)) throw error;
      if (length * 4 > MAX_PICKLE_BYTES && file.size > MAX_PICKLE_BYTES)
        throw new InputError(`${file.path}: a pickle of more than ${MAX_PICKLE_BYTES} bytes; save it in the zip form of torch.save`);
    }
  }
}

/** Storages of an older file by key; where they are is known only after its pickles. */
interface LegacyStorages {
  load(id: PickleValue): PickleValue;
  /** Roots that were referred to. */
  readonly roots: Map<string, StorageId & { begin: number }>;
}
function legacyStorages(read: Ranges['read'], bigEndian: () => boolean): LegacyStorages {
  const roots: LegacyStorages['roots'] = new Map();
  const made = new Map<string, TorchStorage>();
  return {
    roots,
    load(value) {
      if (Array.isArray(value) && value[0] === 'module') return value[1] ?? null; // a class with its source text
      const id = storageId(value);
      const root = roots.get(id.key) ?? { ...id, begin: -1 };
      roots.set(id.key, root);
      const name = id.view ? `${id.key} ${id.view.key}` : id.key;
      const shift = ((id.view?.offset ?? 0) * elementBits(id.dtype)) / 8;
      const storage: TorchStorage = made.get(name) ?? {
        kind: 'storage',
        dtype: id.dtype,
        elements: id.elements,
        read: (begin, end, width) => reader((a, b) => read(root.begin + shift + a, b - a), bigEndian())(begin, end, width),
      };
      made.set(name, storage);
      return storage;
    },
  };
}

/** What stands before the storages. */
interface LegacyHead {
  readonly value: PickleValue;
  readonly keys: readonly string[];
  readonly end: number;
  readonly bigEndian: boolean;
  readonly storages: LegacyStorages;
}
function legacyHead(bytes: Uint8Array, file: Ranges, start: number): LegacyHead {
  let at = start;
  let bigEndian = false;
  const storages = legacyStorages(file.read, () => bigEndian);
  const next = (): PickleValue => {
    const { value, end } = unpickle(bytes, { where: file.path, start: at, find: findKnown(nested(file.path)), persistent: storages.load });
    at = end;
    return value;
  };
  const protocol = next();
  if (protocol !== LEGACY_PROTOCOL)
    throw new InputError(`${file.path}: a PyTorch file of version ${String(protocol).slice(0, 40)}; ${LEGACY_PROTOCOL} can be read`);
  const system = next();
  bigEndian = system instanceof Map && system.get('little_endian') === false;
  const value = next();
  const keys = next();
  if (!Array.isArray(keys)) throw new InputError(`${file.path}: no list of storages follows the pickles; the file is damaged`);
  return {
    value,
    keys: keys.map((key) => (typeof key === 'number' ? String(key) : text(`${file.path}: the key of a storage`, key))),
    end: at,
    bigEndian,
    storages,
  };
}

/** Gives each storage its place. Asks for the count of elements at the positions that it yields. */
function* placeStorages({ keys, end, storages: { roots } }: LegacyHead, { path, size }: Ranges): Generator<number, void, number> {
  let at = end;
  for (const key of keys) {
    const where = `${path}: storage ${JSON.stringify(key.slice(0, 60))}`;
    const root = roots.get(key);
    if (!root) throw new InputError(`${where} belongs to no tensor; the file is damaged`);
    if (at + COUNT_BYTES > size) throw new InputError(`${where} is missing; the file is truncated`);
    const elements = yield at;
    root.begin = at + COUNT_BYTES;
    at = root.begin + bytesIn({ elements, dtype: root.dtype });
    // Where it is known by a part of it only, its own size is not said before.
    if (elements < (root.view ? 0 : root.elements) || !(at <= size))
      throw new InputError(
        `${where} of ${root.elements} elements has ${elements} and ends at byte ${at} of ${size}; the file is truncated or damaged`,
      );
  }
  const lost = [...roots].find(([, root]) => root.begin < 0);
  if (lost) throw new InputError(`${path}: storage ${JSON.stringify(lost[0].slice(0, 60))} is not in the file`);
}

const countIn = (bytes: Uint8Array, at: number, bigEndian: boolean): number =>
  Number(new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getBigUint64(at, !bigEndian));

/** What only a bare pickle calls: a storage as the older form inside bytes. */
const nested = (path: string) => ({
  'torch.storage._load_from_bytes': known(([value]) => {
    const bytes = bytesOf('torch.storage._load_from_bytes', value);
    const file = memoryRanges(`${path}: storage`, bytes);
    const magic = unpickle(bytes, { where: file.path, find: findKnown() });
    if (magic.value !== MAGIC) throw new InputError('a storage inside is of another form than the older one of torch.save');
    const head = legacyHead(bytes, file, magic.end);
    const places = placeStorages(head, file);
    for (let step = places.next(); !step.done; ) step = places.next(countIn(bytes, step.value, head.bigEndian));
    if (!isThing(head.value) || head.value.kind !== 'storage') throw new InputError('torch.storage._load_from_bytes holds no storage');
    return head.value;
  }),
});
/** A file that begins with a pickle. */
export async function openPickled(file: Ranges): Promise<PickleValue> {
  const parsed = await growing(file, (bytes) => {
    const first = unpickle(bytes, { where: file.path, find: findKnown(nested(file.path)) });
    return first.value === MAGIC ? legacyHead(bytes, file, first.end) : { value: first.value };
  });
  if (!('keys' in parsed)) return parsed.value;
  const places = placeStorages(parsed, file);
  for (let step = places.next(); !step.done; ) step = places.next(countIn(await file.read(step.value, COUNT_BYTES), 0, parsed.bigEndian));
  return parsed.value;
}

/** A zip file of `torch.save`. */
export async function openZipped(path: string, zip: ZipFile): Promise<PickleValue> {
  const name = [...zip.entries.keys()].find((entry) => entry === 'data.pkl' || entry.endsWith('/data.pkl'));
  if (name === undefined) throw new InputError(`${path}: a zip file without data.pkl; torch.save writes one`);
  const folder = name.slice(0, -'data.pkl'.length);
  if (zip.entries.has(`${folder}constants.pkl`))
    throw new InputError(`${path}: a TorchScript program, which is not executed; save its state_dict by torch.save`);
  const order = zip.entries.has(`${folder}byteorder`) ? new TextDecoder().decode(await zip.read(`${folder}byteorder`, 64)) : 'little';
  const storages = new Map<string, TorchStorage>();
  const persistent = (value: PickleValue): TorchStorage => {
    const { key, dtype, elements } = storageId(value);
    const entry = `${folder}data/${key}`;
    const stored = zip.entries.get(entry);
    if (!stored) throw new InputError(`storage ${JSON.stringify(entry.slice(0, 80))} is not in the file`);
    if (bytesIn({ elements, dtype }) > stored.size)
      throw new InputError(
        `storage ${JSON.stringify(entry.slice(0, 80))} of ${elements} elements of ${dtype} has ${stored.size} bytes; the file is damaged`,
      );
    const made = storages.get(`${key} ${dtype}`) ?? {
      kind: 'storage' as const,
      dtype,
      elements,
      read: reader((a, b) => zip.range(entry, a, b), order === 'big'),
    };
    storages.set(`${key} ${dtype}`, made);
    return made;
  };
  return unpickle(await zip.read(name, MAX_PICKLE_BYTES), { where: path, find: findKnown(), persistent }).value;
}
