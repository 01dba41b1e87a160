/**
 * @file Reads Python pickles of protocols 0 to 5 without executing anything: what a pickle calls must be in a table of known functions, and every other
 * global is refused by name. The opcodes are those of CPython's pickletools.
 */
import { InputError } from './errors.ts';
import { exact, type PickleReader, pickleReader, pythonString, rawUnicode } from './pickle-reader.ts';
import { briefly, isThing, type PickleThing, type PickleValue } from './pickle-values.ts';

export interface UnpickleOptions {
  /** Name of the file for messages. */
  readonly where: string;
  /** Where the pickle begins. Default 0. */
  readonly start?: number;
  /** A function or class of the known ones, or undefined: then the global is refused. */
  readonly find: (module: string, name: string) => PickleThing | undefined;
  /** The value behind a persistent id. Without it such ids are refused. */
  readonly persistent?: (id: PickleValue) => PickleValue;
}

/** Far more than a checkpoint takes; what is beyond would fill the memory. */
const MAX_OPERATIONS = 5_000_000;
const HIGHEST_PROTOCOL = 5;

interface Machine {
  readonly read: PickleReader;
  readonly options: UnpickleOptions;
  readonly memo: Map<number, PickleValue>;
  /** Stacks below the marks, and the current one. */
  readonly below: PickleValue[][];
  stack: PickleValue[];
  /** Where the current opcode stands. */
  at: number;
  done: boolean;
}

function fail(m: Machine, problem: string): never {
  throw new InputError(`${m.options.where}: byte ${m.at}: ${problem}`);
}

const push = (m: Machine, value: PickleValue): void => {
  m.stack.push(value);
};
function pop(m: Machine): PickleValue {
  const value = m.stack.pop();
  return value === undefined ? fail(m, 'the pickle takes a value where there is none; it is damaged or no pickle') : value;
}
const top = (m: Machine): PickleValue =>
  m.stack.at(-1) ?? (m.stack.length > 0 ? null : fail(m, 'the pickle uses a value where there is none; it is damaged or no pickle'));
function popMark(m: Machine): PickleValue[] {
  const items = m.stack;
  m.stack = m.below.pop() ?? fail(m, 'the pickle closes a mark that was not set; it is damaged or no pickle');
  return items;
}
function popArray(m: Machine, what: string): PickleValue[] {
  const value = pop(m);
  return Array.isArray(value) ? value : fail(m, `${what} is ${briefly(value)}; a tuple or list expected`);
}
function popText(m: Machine): string {
  const value = pop(m);
  return typeof value === 'string' ? value : fail(m, `the name of a global is ${briefly(value)}; a text expected`);
}

/** The known thing behind a name; every other one ends the reading. */
function global(m: Machine, module: string, name: string): PickleThing {
  const found = m.options.find(module, name);
  if (found) return found;
  const shown = `${module}.${name}`.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 200);
  return fail(
    m,
    `the global ${shown} is refused: only tensors, arrays and plain values are read, and nothing is executed; save a state_dict, or convert the file to safetensors`,
  );
}

/** Errors of known functions are given the place. */
function at<T>(m: Machine, f: () => T): T {
  try {
    return f();
  } catch (error) {
    if (!(error instanceof InputError) || error.message.startsWith(`${m.options.where}: byte`)) throw error;
    return fail(m, error.message);
  }
}

function call(m: Machine, callee: PickleValue, args: readonly PickleValue[]): PickleValue {
  const run = isThing(callee) ? callee.call : undefined;
  return run ? at(m, () => run(args)) : fail(m, `${briefly(callee)} is called; only known functions are`);
}

function build(m: Machine): void {
  const state = pop(m);
  const value = top(m);
  if (value instanceof Map || value instanceof Set) return; // attributes of a dictionary, such as the versions of a state_dict
  const take = isThing(value) ? value.build : undefined;
  if (take) at(m, () => take(state));
  else if (!isThing(value)) fail(m, `${briefly(value)} is given attributes; only objects have them`);
}

function setItems(m: Machine, target: PickleValue, pairs: readonly PickleValue[]): void {
  if (!(target instanceof Map) || pairs.length % 2 !== 0)
    fail(m, `${briefly(target)} is given ${pairs.length} keys and values; a dictionary and pairs expected`);
  for (let i = 0; i < pairs.length; i += 2) target.set(pairs[i]!, pairs[i + 1]!);
}
function append(m: Machine, target: PickleValue, items: readonly PickleValue[]): void {
  if (target instanceof Set) for (const item of items) target.add(item);
  else if (Array.isArray(target)) for (const item of items) target.push(item);
  else fail(m, `${briefly(target)} is appended to; a list expected`);
}
function dictOf(m: Machine, pairs: readonly PickleValue[]): Map<PickleValue, PickleValue> {
  const made = new Map<PickleValue, PickleValue>();
  setItems(m, made, pairs);
  return made;
}

function persistent(m: Machine, id: PickleValue): PickleValue {
  const load = m.options.persistent;
  return load ? at(m, () => load(id)) : fail(m, `a persistent id ${briefly(id)}; only PyTorch's own files have them`);
}
function remembered(m: Machine, index: number): PickleValue {
  const value = m.memo.get(index);
  return value === undefined ? fail(m, `the pickle recalls value ${index}, which it did not keep; it is damaged or no pickle`) : value;
}

function wholeLine(m: Machine): PickleValue {
  const line = m.read.line();
  if (line === '00' || line === '01') return line === '01';
  if (!/^[+-]?\d{1,2466}L?$/.test(line)) fail(m, `${briefly(line)} is no integer`);
  return exact(BigInt(line.replace(/^\+|L$/g, '')));
}
function floatLine(m: Machine): number {
  const line = m.read.line();
  const special = ({ inf: Number.POSITIVE_INFINITY, '-inf': Number.NEGATIVE_INFINITY, nan: Number.NaN } as Record<string, number>)[line];
  const value = special ?? Number(line);
  if (special === undefined && (line.trim() === '' || Number.isNaN(value))) fail(m, `${briefly(line)} is no number`);
  return value;
}
const memoLine = (m: Machine): number => {
  const line = m.read.line();
  return /^\d{1,15}$/.test(line) ? Number(line) : fail(m, `${briefly(line)} is no index`);
};

function protocol(m: Machine): void {
  const version = m.read.u8();
  if (version > HIGHEST_PROTOCOL) fail(m, `pickle protocol ${version}; 0 to ${HIGHEST_PROTOCOL} can be read (or the file is no pickle)`);
}
const refused =
  (what: string) =>
  (m: Machine): never =>
    fail(m, `${what} cannot be read`);
const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

/** Opcodes by their byte as a character. */
const OPCODES: Readonly<Record<string, (m: Machine) => void>> = {
  '\x80': protocol,
  '\x95': (m) => void m.read.u64(), // a frame's length
  '.': (m) => {
    m.done = true;
  },
  // Constants and numbers
  N: (m) => push(m, null),
  '\x88': (m) => push(m, true),
  '\x89': (m) => push(m, false),
  I: (m) => push(m, wholeLine(m)),
  L: (m) => push(m, wholeLine(m)),
  F: (m) => push(m, floatLine(m)),
  J: (m) => push(m, m.read.i32()),
  K: (m) => push(m, m.read.u8()),
  M: (m) => push(m, m.read.u16()),
  '\x8a': (m) => push(m, m.read.long(m.read.u8())),
  '\x8b': (m) => push(m, m.read.long(m.read.u32())),
  G: (m) => push(m, m.read.f64()),
  // Texts and bytes
  S: (m) => push(m, pythonString(m.read.line()) ?? fail(m, 'a text without quotes')),
  T: (m) => push(m, latin1(m.read.bytes(m.read.u32()))),
  U: (m) => push(m, latin1(m.read.bytes(m.read.u8()))),
  V: (m) => push(m, rawUnicode(m.read.line())),
  X: (m) => push(m, m.read.utf8(m.read.u32())),
  '\x8c': (m) => push(m, m.read.utf8(m.read.u8())),
  '\x8d': (m) => push(m, m.read.utf8(m.read.u64())),
  B: (m) => push(m, m.read.bytes(m.read.u32())),
  C: (m) => push(m, m.read.bytes(m.read.u8())),
  '\x8e': (m) => push(m, m.read.bytes(m.read.u64())),
  '\x96': (m) => push(m, m.read.bytes(m.read.u64())),
  '\x97': refused('a buffer outside the pickle'),
  '\x98': () => {}, // a buffer is read-only
  // Containers
  '(': (m) => {
    m.below.push(m.stack);
    m.stack = [];
  },
  ')': (m) => push(m, []),
  ']': (m) => push(m, []),
  '}': (m) => push(m, new Map()),
  '\x8f': (m) => push(m, new Set()),
  t: (m) => push(m, popMark(m)),
  l: (m) => push(m, popMark(m)),
  d: (m) => push(m, dictOf(m, popMark(m))),
  '\x91': (m) => push(m, new Set(popMark(m))),
  '\x85': (m) => push(m, [pop(m)]),
  '\x86': (m) => push(m, [pop(m), pop(m)].toReversed()),
  '\x87': (m) => push(m, [pop(m), pop(m), pop(m)].toReversed()),
  a: (m) => {
    const item = pop(m);
    append(m, top(m), [item]);
  },
  e: (m) => {
    const items = popMark(m);
    append(m, top(m), items);
  },
  '\x90': (m) => {
    const items = popMark(m);
    append(m, top(m), items);
  },
  s: (m) => {
    const value = pop(m);
    const key = pop(m);
    setItems(m, top(m), [key, value]);
  },
  u: (m) => {
    const pairs = popMark(m);
    setItems(m, top(m), pairs);
  },
  // The stack and the memo
  '0': (m) => {
    if (m.stack.length > 0) m.stack.pop();
    else popMark(m);
  },
  '1': (m) => void popMark(m),
  '2': (m) => push(m, top(m)),
  p: (m) => void m.memo.set(memoLine(m), top(m)),
  q: (m) => void m.memo.set(m.read.u8(), top(m)),
  r: (m) => void m.memo.set(m.read.u32(), top(m)),
  '\x94': (m) => void m.memo.set(m.memo.size, top(m)),
  g: (m) => push(m, remembered(m, memoLine(m))),
  h: (m) => push(m, remembered(m, m.read.u8())),
  j: (m) => push(m, remembered(m, m.read.u32())),
  // Globals and objects
  c: (m) => push(m, global(m, m.read.line(), m.read.line())),
  '\x93': (m) => {
    const name = popText(m);
    push(m, global(m, popText(m), name));
  },
  R: (m) => {
    const args = popArray(m, 'the arguments of a function');
    push(m, call(m, pop(m), args));
  },
  '\x81': (m) => {
    const args = popArray(m, 'the arguments of a class');
    push(m, call(m, pop(m), args));
  },
  '\x92': (m) => {
    const named = pop(m);
    if (!(named instanceof Map) || named.size > 0) fail(m, 'a class is called with named arguments; none are known');
    const args = popArray(m, 'the arguments of a class');
    push(m, call(m, pop(m), args));
  },
  i: (m) => {
    const callee = global(m, m.read.line(), m.read.line());
    push(m, call(m, callee, popMark(m)));
  },
  o: (m) => {
    const [callee = null, ...args] = popMark(m);
    push(m, call(m, callee, args));
  },
  b: build,
  P: (m) => push(m, persistent(m, m.read.line())),
  Q: (m) => push(m, persistent(m, pop(m))),
  '\x82': refused('a global by a number of an extension registry'),
  '\x83': refused('a global by a number of an extension registry'),
  '\x84': refused('a global by a number of an extension registry'),
};

const TABLE: readonly (((m: Machine) => void) | undefined)[] = Array.from({ length: 256 }, (_, code) => OPCODES[String.fromCharCode(code)]);

/**
 * Reads one pickle.
 * @returns its value and the position of the byte after it. Bytes are views of `data`.
 * @throws InputError with the byte's position for other globals and malformed pickles; PickleTruncated where `data` end before it does
 */
export function unpickle(data: Uint8Array, options: UnpickleOptions): { readonly value: PickleValue; readonly end: number } {
  const read = pickleReader(data, options.start ?? 0, options.where);
  const m: Machine = { read, options, memo: new Map(), below: [], stack: [], at: read.position, done: false };
  for (let count = 0; !m.done; count++) {
    m.at = read.position;
    if (count > MAX_OPERATIONS) fail(m, `more than ${MAX_OPERATIONS} operations; no checkpoint is so long`);
    const code = read.u8();
    const run = TABLE[code];
    if (!run) fail(m, `0x${code.toString(16).padStart(2, '0')} is no opcode; the file is damaged or no pickle`);
    run(m);
  }
  const value = pop(m);
  return { value, end: read.position };
}
