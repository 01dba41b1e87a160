/** @file What a pickle holds, as inert values: nothing of it is ever executed. */
import { InputError } from './errors.ts';

/** Lists and tuples are arrays, dictionaries are maps; everything that is neither is a `PickleThing`. */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleValue[]
  | Map<PickleValue, PickleValue>
  | Set<PickleValue>
  | PickleThing;

/** A value of a known class or function. */
export interface PickleThing {
  /** Its class, or `function`. */
  readonly kind: string;
  /** What calling it gives: only functions and classes that are known have this. */
  readonly call?: (args: readonly PickleValue[]) => PickleValue;
  /** Takes what `__setstate__` would. */
  readonly build?: (state: PickleValue) => void;
}

/** An object of which only the name of its class and its attributes are kept. */
export interface PickleObject extends PickleThing {
  readonly kind: 'object';
  readonly className: string;
  state: PickleValue;
}

export const isThing = (value: PickleValue | undefined): value is PickleThing =>
  typeof value === 'object' && value !== null && 'kind' in value;
export const isObject = (value: PickleValue | undefined): value is PickleObject => isThing(value) && value.kind === 'object';

export function objectOf(className: string): PickleObject {
  const object: PickleObject = {
    kind: 'object',
    className,
    state: null,
    build: (state) => {
      object.state = state;
    },
  };
  return object;
}

/** A function of a pickle by the name that messages give it. */
export const known = (call: (args: readonly PickleValue[]) => PickleValue): PickleThing => ({ kind: 'function', call });
/** A class of which nothing is made, that only stands as an argument. */
export const named = (kind: string): PickleThing => ({ kind });

/** One line's worth of a value for messages. */
export function briefly(value: PickleValue | undefined): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  if (value === null) return 'None';
  if (typeof value !== 'object') return String(value).slice(0, 60);
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (value instanceof Map) return `a dictionary of ${value.size}`;
  if (value instanceof Set) return `a set of ${value.size}`;
  return isObject(value) ? `an object of ${value.className}` : `a ${value.kind}`;
}

const wrong = (what: string, value: PickleValue | undefined, wanted: string): InputError =>
  new InputError(`${what} is ${briefly(value)}; ${wanted} expected`);

export function text(what: string, value: PickleValue | undefined): string {
  if (typeof value !== 'string') throw wrong(what, value, 'a text');
  return value;
}
/** A whole number from 0 to 2⁵³ − 1. */
export function size(what: string, value: PickleValue | undefined): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw wrong(what, value, 'a whole number from 0');
  return value;
}
/** A list of at most `most` sizes. */
export function sizes(what: string, value: PickleValue | undefined, most = 64): number[] {
  if (!Array.isArray(value) || value.length > most) throw wrong(what, value, `a list of at most ${most} sizes`);
  return value.map((v) => size(what, v));
}
export function bytesOf(what: string, value: PickleValue | undefined): Uint8Array {
  if (!(value instanceof Uint8Array)) throw wrong(what, value, 'bytes');
  return value;
}
