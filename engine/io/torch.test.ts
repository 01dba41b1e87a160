/** @file PyTorch's files against what they hold, bit for bit; what is refused; and that no bytes crash or hang the reader. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { goldenPath } from '../testing/golden.ts';
import { unpickle } from './pickle.ts';
import { findKnown } from './pickle-globals.ts';
import type { PickleValue } from './pickle-values.ts';
import { readSafetensors, toFloat32 } from './safetensors.ts';
import { openTorch, readTorch } from './torch.ts';

const scratch = mkdtempSync(join(tmpdir(), 'torch-'));
afterAll(() => rmSync(scratch, { recursive: true }));
let count = 0;
function file(bytes: Uint8Array | string): string {
  const path = join(scratch, `${count++}.pt`);
  writeFileSync(path, bytes);
  return path;
}

interface Expected {
  readonly files: Readonly<
    Record<string, { readonly expected?: Readonly<Record<string, string>>; readonly plain?: Readonly<Record<string, unknown>> }>
  >;
  readonly refuse: { readonly files: Readonly<Record<string, string>> };
}
const at = goldenPath('edm/torch/expected.json');
const folder = at ? dirname(at) : '';
const facts: Expected = at ? JSON.parse(readFileSync(at, 'utf8')) : { files: {}, refuse: { files: {} } };

/** Plain values: dictionaries with text keys as objects. */
const plain = (value: PickleValue): unknown =>
  value instanceof Map
    ? Object.fromEntries([...value].map(([k, v]) => [String(k), plain(v)]))
    : Array.isArray(value)
      ? value.map(plain)
      : value;
const along = (value: PickleValue, path: string): unknown =>
  plain(path.split('/').reduce<PickleValue>((v, key) => (v instanceof Map ? v.get(key)! : (v as PickleValue[])[Number(key)]!), value));

describe.skipIf(!at)('files of torch.save', () => {
  const readable = Object.entries(facts.files).filter(([, f]) => f.expected);
  test.each(readable)('%s', async (name, { expected, plain: values = {} }) => {
    const { tensors: stored } = await readSafetensors(join(folder, 'expected.safetensors'));
    const { tensors, value } = await readTorch(join(folder, name));
    expect([...tensors.keys()].sort()).toEqual(Object.keys(expected!).sort());
    for (const [key, golden] of Object.entries(expected!)) {
      const [got, want] = [tensors.get(key)!, stored.get(golden)!];
      expect([key, got.dtype, got.shape, Buffer.compare(got.bytes, want.bytes)]).toEqual([key, want.dtype, want.shape, 0]);
    }
    for (const [path, want] of Object.entries(values)) expect(along(value, path), path).toEqual(want);
  });
  test.each(Object.entries(facts.refuse.files))('%s is refused by name', async (name, global) => {
    await expect(openTorch(join(folder, name))).rejects.toThrow(new RegExp(`byte \\d+: the global ${global} is refused`));
  });
  test('argparse.Namespace is refused by name', async () => {
    await expect(openTorch(join(folder, 'namespace.pt'))).rejects.toThrow('the global argparse.Namespace is refused');
  });
  test.each(['edm-ddpmpp', 'edm-ncsnpp', 've-ncsnpp', 'vp-ddpmpp', 'iddpm-adm'])('the snapshot %s.pkl holds its network', async (name) => {
    const { tensors } = await readTorch(join(folder, `../${name}.pkl`));
    const { tensors: want } = await readSafetensors(join(folder, `../${name}.weights.safetensors`));
    expect([...tensors.keys()].filter((key) => key.startsWith('ema/')).sort()).toEqual([...want.keys()].map((key) => `ema/${key}`).sort());
    // Weights in float16 are compared by the networks' tests; the shapes say that each name has its own.
    for (const [key, { shape }] of want) expect([key, tensors.get(`ema/${key}`)!.shape]).toEqual([key, shape]);
  });
  test.each(['alex', 'squeeze'])('the older form with storages of a GPU: %s.pth', async (name) => {
    const { tensors } = await readTorch(join(folder, `../../metrics/lpips-weights/${name}.pth`));
    const { tensors: stored } = await readSafetensors(join(folder, '../../metrics/lpips.safetensors'));
    for (const [key, got] of tensors) expect([key, Buffer.compare(got.bytes, stored.get(`${name}.${key}`)!.bytes)]).toEqual([key, 0]);
  });
});

const read = (bytes: Uint8Array | string): PickleValue =>
  unpickle(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes, { where: 'x', find: findKnown() }).value;

describe('pickles', () => {
  // Made by hand after CPython's pickletools; each comment is the Python value.
  test.each<[string, unknown]>([
    ['I5\n.', 5],
    ['I01\n.', true],
    ['L-12345678901234567890L\n.', -12345678901234567890n],
    ['F1.5\n.', 1.5],
    ["S'a\\x41\\n'\n.", 'aA\n'],
    ['V\\u03c3x\n.', 'σx'],
    ['(lp0\nI1\naI2\na.', [1, 2]],
    ['(I1\nI2\nt.', [1, 2]],
    ['\x80\x02\x8a\x01\xff.', -1],
    ['\x80\x02\x8a\x00.', 0],
    ['\x80\x02J\xfe\xff\xff\xff.', -2],
    ['\x80\x02G\x3f\xf8\x00\x00\x00\x00\x00\x00.', 1.5],
    ['\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00]\x94(K\x01K\x02e.', [1, 2]],
    ['\x80\x02]q\x00h\x00a0K\x07.', 7], // a list that contains itself, dropped
    ['\x80\x02c_codecs\nencode\nX\x02\x00\x00\x00\xc3\xa9X\x06\x00\x00\x00latin1\x86R.', Uint8Array.of(0xe9)],
    [
      '\x80\x02cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01>NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tbU\x08\x3f\xf8\x00\x00\x00\x00\x00\x00\x86R.',
      1.5,
    ],
  ])('%j', (bytes, want) => {
    expect(read(bytes)).toEqual(want);
  });
  test('dictionaries and sets', () => {
    expect(read('\x80\x02}(U\x01aK\x01U\x01bK\x02u.')).toEqual(
      new Map([
        ['a', 1],
        ['b', 2],
      ]),
    );
    expect(read('\x80\x04\x8f(K\x01K\x01\x90.')).toEqual(new Set([1]));
    expect(read('\x80\x02ccollections\nOrderedDict\n]U\x01kK\x03\x86a\x85R.')).toEqual(new Map([['k', 3]]));
  });
  test.each([
    ['cos\nsystem\n.', 'x: byte 0: the global os.system is refused'],
    ['\x80\x04\x8c\x08builtins\x8c\x04eval\x93.', 'x: byte 18: the global builtins.eval is refused'],
    ['(ios\nsystem\n.', 'x: byte 1: the global os.system is refused'],
    ['\x80\x02c__builtin__\ngetattr\n.', 'byte 2: the global __builtin__.getattr is refused'],
    ['\x80\x02cconstructor\n__proto__\n.', 'byte 2: the global constructor.__proto__ is refused'],
    ['\x80\x02ctorch\nFloatStorage\n)R.', 'a storage class is called; only known functions are'],
    ['\x80\x02K\x01)R.', 'byte 5: 1 is called; only known functions are'],
    ['\x80\x02\x82\x01.', 'a global by a number of an extension registry cannot be read'],
    ['\x80\x07.', 'pickle protocol 7; 0 to 5 can be read'],
    ['\x80\x02.', 'the pickle takes a value where there is none'],
    ['\x80\x02h\x05.', 'recalls value 5, which it did not keep'],
    ['\x80\x02X\xff\xff\xff\xff.', 'the pickle ends at byte 8, where 4294967295 bytes are wanted'],
    ['\x80\x02K\x01K\x02s.', 'the pickle uses a value where there is none'],
    ['\x80\x02U\x01xQ.', 'a persistent id "x"; only PyTorch'],
    ['hello', 'the pickle recalls value 101'],
    ['\xff\xd8\xff', 'byte 0: 0xff is no opcode; the file is damaged or no pickle'],
  ])('%j is refused', (bytes, message) => {
    expect(() => read(bytes)).toThrow(message);
    expect(() => read(bytes)).toThrow(expect.objectContaining({ name: 'InputError' }));
  });
});

describe('files that are no checkpoints', () => {
  test.each<[string, Uint8Array | string, string]>([
    ['empty', '', 'the file is empty; a file of torch.save expected'],
    ['text', 'not a pickle\n', 'byte 0: 0x6e is no opcode'],
    ['a cut zip', 'PK\x03\x04 and nothing more', 'not a zip file'],
  ])('%s', async (_, bytes, message) => {
    await expect(openTorch(file(bytes))).rejects.toThrow(message);
  });
  test('a list that contains itself ends', async () => {
    await expect(openTorch(file(Buffer.from('\x80\x02]q\x00h\x00a.', 'latin1')))).rejects.toThrow('nested more than 64 deep');
  });
  test('a value shared at every level ends', async () => {
    const doubled = Array.from(
      { length: 40 },
      (_, i) => `]r${String.fromCharCode(i + 1)}\0\0\0(j${String.fromCharCode(i)}\0\0\0j${String.fromCharCode(i)}\0\0\0e`,
    );
    const bytes = Buffer.from(`\x80\x02]r\0\0\0\0(K\x01K\x02e0${doubled.join('')}.`, 'latin1');
    await expect(openTorch(file(bytes))).rejects.toThrow('more than 5000000 in all');
  });
});

/** A stream of whole numbers: xorshift32, so that a failure repeats. */
function stream(seed: number): (below: number) => number {
  let x = seed;
  return (below) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % below;
  };
}
function mutated(bytes: Uint8Array, next: (below: number) => number): Uint8Array {
  const out = Uint8Array.from(bytes);
  for (let k = 1 + next(4); k > 0; k--) out[next(out.length)] = next(256);
  return next(8) === 0 ? out.subarray(0, next(out.length)) : out;
}
const isInputError = (error: unknown): boolean => error instanceof Error && error.name === 'InputError';

describe.skipIf(!at)('arbitrary bytes end in one line', () => {
  const heads = ['torch/state-dict-legacy.pt', 'torch/evil-raw.pkl', 'edm-ncsnpp.pkl'];
  test.each(heads)('pickles of %s, 20000 times', (name) => {
    const bytes = readFileSync(join(folder, '..', name)).subarray(0, 6000);
    const next = stream(7);
    const slips: unknown[] = [];
    for (let i = 0; i < 20_000; i++) {
      const broken = mutated(bytes, next);
      try {
        unpickle(broken, { where: 'x', find: findKnown(), start: next(4) === 0 ? next(1 + broken.length) : 0, persistent: () => null });
      } catch (error) {
        if (!isInputError(error)) slips.push(error);
      }
    }
    expect(slips).toEqual([]);
  });
  test.each(['state-dict-zip.pt', 'state-dict-legacy.pt'])('%s, whole files', async (name) => {
    const bytes = readFileSync(join(folder, name));
    const next = stream(11);
    const slips: unknown[] = [];
    for (let i = 0; i < 400; i++)
      await readTorch(file(mutated(bytes, next))).catch((error: unknown) => isInputError(error) || slips.push(error));
    expect(slips).toEqual([]);
  });
});

/** Files of the older form, made here: five pickles and raw storages, so that byte order and views can be chosen. */
describe('the older form', () => {
  const long = (n: number): string => `\x8a\x02${String.fromCharCode(n & 255, n >> 8)}`;
  const bytesOf = (n: number, width: number, big: boolean): string => {
    const out = Buffer.alloc(width);
    if (width === 8) big ? out.writeBigUInt64BE(BigInt(n)) : out.writeBigUInt64LE(BigInt(n));
    else big ? out.writeFloatBE(n) : out.writeFloatLE(n);
    return out.toString('latin1');
  };
  const MAGIC = '\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.';
  const text = (value: string): string => `U${String.fromCharCode(value.length)}${value}`;
  const tensor = (view: string): string =>
    `ctorch._utils\n_rebuild_tensor_v2\n((${text('storage')}ctorch\nFloatStorage\n${text('k')}${text('cuda:0')}K\x04${view}tQK\x01K\x02\x85K\x01\x85\x89NtR`;
  const whole = (big: boolean, view = 'N', count = 4): Buffer =>
    Buffer.from(
      [
        MAGIC,
        `\x80\x02${long(1001)}.`,
        `\x80\x02}${text('little_endian')}${big ? '\x89' : '\x88'}s.`,
        `\x80\x02${tensor(view)}.`,
        `\x80\x02]${text('k')}a.`,
        bytesOf(count, 8, big),
        ...[1, 2.5, -3, 4].map((v) => bytesOf(v, 4, big)),
      ].join(''),
      'latin1',
    );
  const values = async (bytes: Buffer): Promise<number[]> => {
    const opened = await openTorch(file(bytes));
    const [name] = opened.names;
    return [...toFloat32(await opened.read(name!))];
  };
  test.each([false, true])('big-endian: %s', async (big) => {
    expect(await values(whole(big))).toEqual([2.5, -3]);
  });
  test('a storage that is a part of another', async () => {
    expect(await values(whole(false, `(${text('v')}K\x01K\x03t`))).toEqual([-3, 4]);
  });
  test.each<[string, Buffer, string]>([
    ['another count', whole(false, 'N', 3), 'storage "k" of 4 elements has 3'],
    ['a huge count', whole(false, 'N', 2 ** 40), 'the file is truncated or damaged'],
    ['a missing end', whole(false).subarray(0, -3), 'the file is truncated or damaged'],
    ['no storage', whole(false).subarray(0, -24), 'storage "k" is missing; the file is truncated'],
  ])('%s', async (_, bytes, message) => {
    await expect(openTorch(file(bytes))).rejects.toThrow(message);
  });
  test('a view that reaches beyond its storage', () => {
    const broken = `\x80\x02${tensor('N').replace('K\x02\x85', 'K\x09\x85')}.`;
    const storage = { kind: 'storage', dtype: 'F32', elements: 4, read: async () => new Uint8Array(0) } as const;
    expect(() => unpickle(Buffer.from(broken, 'latin1'), { where: 'x', find: findKnown(), persistent: () => storage })).toThrow(
      'a tensor of shape (9), strides (1) and offset 1 reaches beyond its storage of 4 elements',
    );
  });
});
