/** @file Configurations of diffusers' classes (`config.json`): what every key may be, one line for every mistake. */
import * as z from 'zod';
import { InputError } from '../../../engine/io/errors.ts';
import { brief } from '../../../engine/io/safetensors-header.ts';
import { didYouMean } from '../../../engine/train/options.ts';

export type Schema = z.ZodObject;
export type Config<S extends Schema> = z.output<S>;

/** Keys of every configuration that say where it comes from. */
const METADATA = ['_class_name', '_diffusers_version', '_name_or_path', '_commit_hash', '_use_default_values'];

/** No network is wider, deeper or has more classes: larger numbers come from damaged files, and building them would not end. */
const MOST = 65_536;
const DEEPEST = 512;
const LONGEST = 16;
/** Layers of a block multiply with blocks, and depths of transformers with both. */
const LAYERS = 16;
const DEPTH = 32;
const MANY = 1_000_000;

const between = (min: number, max: number): string => `a whole number from ${min} to ${max}`;
export const count = (initial: number, min = 1, max = MOST) => z.int().min(min).max(max).default(initial).describe(between(min, max));
/** How many layers or blocks there are. */
export const layers = (initial: number, min = 1) => count(initial, min, DEEPEST);
/** How many classes or times there are. */
export const many = (initial: number, min = 1) => count(initial, min, MANY);
export const real = (initial: number) => z.number().default(initial).describe('a number');
export const flag = (initial: boolean) => z.boolean().default(initial).describe('true or false');
export const word = <const T extends readonly [string, ...string[]]>(values: T, initial: T[number]) =>
  z
    .enum(values)
    .default(initial as never)
    .describe(values.length === 1 ? `${values[0]}, which alone is supported` : `one of ${values.join(', ')}`);
export const counts = (initial: readonly number[], min = 1, max = MOST) =>
  z
    .array(z.int().min(min).max(max))
    .min(1)
    .max(LONGEST)
    .default([...initial])
    .describe(`a list of at most ${LONGEST} whole numbers from ${min} to ${max}`);
/** How many layers each of several blocks has. */
export const layersOf = (initial: readonly number[], min = 1) => counts(initial, min, LAYERS);
/** Names that are checked elsewhere. */
export const names = (initial: readonly string[]) =>
  z
    .array(z.string())
    .min(1)
    .max(LONGEST)
    .default([...initial])
    .describe(`a list of at most ${LONGEST} names`);
export const words = <const T extends readonly [string, ...string[]]>(values: T, initial: readonly T[number][]) =>
  z
    .array(z.enum(values))
    .min(1)
    .max(LONGEST)
    .default([...initial] as never)
    .describe(`a list of ${values.join(', ')}`);
/** One number for all blocks, or one for each. */
export const countEach = (initial: number, max = MOST) =>
  z
    .union([z.int().min(1).max(max), z.array(z.int().min(1).max(max)).min(1).max(LONGEST)])
    .default(initial)
    .describe(`${between(1, max)}, or a list of them`);
export const layersEach = (initial: number) => countEach(initial, LAYERS);
/** How many layers every block has. */
export const perBlock = (initial: number) => count(initial, 1, LAYERS);
/** Depths: one for all blocks, one for each, or one for every layer of each. */
export const depths = () => {
  const depth = z.int().min(1).max(DEPTH);
  const each = z.union([
    depth,
    z
      .array(depth)
      .min(1)
      .max(LAYERS + 1),
  ]);
  return z.union([depth, z.array(each).min(1).max(LONGEST)]).describe(`${between(1, DEPTH)}, a list of them, or a list of such lists`);
};
export const flagEach = (initial: boolean) =>
  z
    .union([z.boolean(), z.array(z.boolean()).min(1).max(LONGEST)])
    .default(initial)
    .describe('true or false, or a list of them');

export const countOrNull = (initial: number | null = null, max = MOST) =>
  z
    .int()
    .min(1)
    .max(max)
    .nullable()
    .default(initial)
    .describe(`${between(1, max)} or null`);
export const manyOrNull = () => countOrNull(null, MANY);
export const realOrNull = () => z.number().nullable().default(null).describe('a number or null');
export const realsOrNull = () => z.array(z.number()).min(1).nullable().default(null).describe('a list of numbers or null');
export const wordOrNull = <const T extends readonly [string, ...string[]]>(values: T, initial: T[number] | null = null) =>
  z
    .enum(values)
    .nullable()
    .default(initial as never)
    .describe(`${values.join(', ')} or null`);
/** What is not supported unless it is switched off. */
export const only = <const T extends boolean | null>(value: T) =>
  z
    .literal(value)
    .default(value as never)
    .describe(`${value}; anything else is not supported`);
/** Height and width, or one number for both. */
export const size = (initial: number | null = null) =>
  z
    .union([z.int().min(1), z.array(z.int().min(1)).length(2)])
    .nullable()
    .default(initial)
    .describe('a whole number from 1, two of them (height, width) or null');

/** Height and width of a `sample_size`. */
export const sides = (value: number | readonly number[] | null): readonly [number, number] | null =>
  value === null ? null : typeof value === 'number' ? [value, value] : [value[0]!, value[1]!];

/** One value for each of n blocks. Errors: a list of another length. */
export function each<T>(where: string, key: string, value: T | readonly T[], n: number): readonly T[] {
  if (!Array.isArray(value)) return new Array<T>(n).fill(value as T);
  if (value.length !== n) throw new InputError(`${where}: ${key} has ${value.length} entries; there are ${n} blocks`);
  return value as readonly T[];
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
/** A value as JSON, cut to fit a line. */
export const shown = (value: unknown): string => (typeof value === 'number' && !Number.isFinite(value) ? String(value) : brief(value));

/** A JSON object, or an InputError. */
export function record(where: string, value: unknown): Readonly<Record<string, unknown>> {
  if (!isRecord(value)) throw new InputError(`${where}: the configuration is ${shown(value)}; it must be a JSON object`);
  return value;
}

/**
 * Checks a configuration and fills in the defaults of the class.
 * @param where the file, for messages
 * @param idle keys that change nothing about what the network computes
 * @throws InputError naming all unknown keys, or the first value that is wrong or not supported
 */
export function readConfig<S extends Schema>(where: string, schema: S, idle: readonly string[], json: unknown): Config<S> {
  const known = Object.keys(schema.shape);
  const entries = Object.entries(record(where, json)).filter(([key]) => !METADATA.includes(key) && !idle.includes(key));
  const unknown = entries.map(([key]) => key).filter((key) => !known.includes(key));
  if (unknown.length > 0) {
    const hint = didYouMean(unknown[0]!, known);
    throw new InputError(`${where}: unknown keys ${unknown.join(', ')}${hint}; known are ${[...known, ...idle].join(', ')}`);
  }
  const values = Object.fromEntries(entries);
  const result = schema.safeParse(values);
  if (result.success) return result.data as Config<S>;
  const key = String(result.error.issues[0]!.path[0]);
  const description = (schema.shape[key] as z.ZodType | undefined)?.description;
  throw new InputError(`${where}: ${key} is ${shown(values[key])}; it must be ${description}`);
}
