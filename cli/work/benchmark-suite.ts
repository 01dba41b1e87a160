/** @file What a benchmark compares: a suite file, checked word by word, and the jobs that it stands for. */

import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import * as z from 'zod';
import { InputError } from '../../engine/io/errors.ts';
import { fileFailure } from '../../engine/io/failures.ts';
import { didYouMean } from '../../engine/io/nearest.ts';
import { deviceNames } from '../../engine/run/devices.ts';
import { classifiedData } from '../../eval/features/shipped.ts';
import { type Flat, flatFacts, type Group, valuesOf } from '../config.ts';
import { hybridGroup } from './hybrid.ts';
import { isFlat } from './report-rows.ts';
import { drawing, samplerGroups } from './source.ts';

/** Options of drawing that belong to the whole suite. */
const SHARED = ['seed', 'threads', 'device', 'batch'] as const;
const GROUPS: readonly Group[] = [drawing as Group, hybridGroup as Group, ...samplerGroups];
/** Options that an entry may vary, as the flags of `sample` in camel case. */
const VARIED = flatFacts(GROUPS).filter(({ name }) => !(SHARED as readonly string[]).includes(name));

const whole = (min: number, max = 2 ** 31 - 1) => z.int().min(min).max(max);
const words = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]);
const suiteSchema = z.strictObject({
  title: z.string().min(1).optional(),
  reference: z.enum(['auto', ...classifiedData]).default('auto'),
  n: whole(2).default(5000),
  seed: whole(0).default(0),
  neighbours: whole(0).default(64),
  samples: whole(0, 1000).default(40),
  batch: whole(1).default(100),
  threads: whole(0, 256).default(0),
  device: z.enum(deviceNames).default('cpu'),
  entries: z.array(z.record(z.string(), z.unknown())).min(1),
});
const entrySchema = z.looseObject({ name: z.string().min(1).optional(), model: words });

export type Shared = Omit<z.output<typeof suiteSchema>, 'entries' | 'title'>;
/** A model with one choice of options. */
export interface Job {
  /** Unique in the suite. */
  readonly name: string;
  /** Jobs of one model. */
  readonly series: string;
  /** What tells jobs of a model apart; may be empty. */
  readonly label: string;
  readonly model: string;
  /** Options of drawing that the entry names. */
  readonly options: Flat;
}
export interface Suite {
  readonly title: string;
  readonly shared: Shared;
  readonly jobs: readonly Job[];
}

/** Reads a suite. Errors: one line with the place in the file, the value and what would be right. */
export async function readSuite(path: string): Promise<Suite> {
  const content = await readFile(path, 'utf8').catch((error: unknown) => {
    throw fileFailure('read', path, error);
  });
  return suiteOf(path, parsed(path, content));
}

function parsed(path: string, content: string): unknown {
  try {
    // No aliases that grow without end.
    return path.endsWith('.json') ? JSON.parse(content) : parse(content, { maxAliasCount: 100 });
  } catch (error) {
    throw new InputError(`${path}: is no valid ${path.endsWith('.json') ? 'JSON' : 'YAML'}: ${(error as Error).message.split('\n')[0]}`);
  }
}

/** The suite that a value stands for. @param where for messages */
export function suiteOf(where: string, value: unknown): Suite {
  if (!isFlat(value)) throw new InputError(`${where}: holds no suite; write entries: and a list of models, each led by a hyphen`);
  checkKeys(where, value, Object.keys(suiteSchema.shape));
  const result = suiteSchema.safeParse(value);
  if (!result.success) throw new InputError(`${where}: ${issueText(result.error.issues[0]!, value)}`);
  const { entries, title = 'Benchmark', ...shared } = result.data;
  const jobs = entries.flatMap((entry, i) => jobsOf(`${where}: entries[${i}]`, entry));
  const twice = jobs.find(({ name }, i) => jobs.findIndex((other) => other.name === name) !== i);
  if (twice) throw new InputError(`${where}: ${twice.name} is there twice; leave one out, or give them names`);
  return { title, shared, jobs };
}

function checkKeys(where: string, value: Flat, known: readonly string[]): void {
  const unknown = Object.keys(value).find((key) => !known.includes(key));
  if (unknown === undefined) return;
  const near = didYouMean(unknown, known);
  throw new InputError(`${where}: unknown option ${unknown}${near || `; there are ${known.join(', ')}`}`);
}

/** The place, the value and what zod expects there. */
function issueText({ path, message }: z.core.$ZodIssue, value: unknown): string {
  const found = path.reduce<unknown>((inner, key) => (inner as Readonly<Record<PropertyKey, unknown>> | undefined)?.[key], value);
  const place = path
    .map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`))
    .join('')
    .slice(1);
  const shown = found === undefined ? 'is missing' : `is ${JSON.stringify(found)?.slice(0, 80)}`;
  return `${place || 'suite'} ${shown}: ${message.replace(/^Invalid input: /, '')}`;
}

/** Every combination of the values that an entry lists. */
function jobsOf(where: string, entry: Flat): readonly Job[] {
  checkKeys(where, entry, ['name', 'model', ...VARIED.map(({ name }) => name)]);
  const result = entrySchema.safeParse(entry);
  if (!result.success) throw new InputError(`${where}: ${issueText(result.error.issues[0]!, entry)}`);
  const { name, model } = result.data;
  const varied = VARIED.flatMap((fact) =>
    entry[fact.name] === undefined ? [] : [[fact.name, valuesAt(where, fact.name, entry[fact.name])] as const],
  );
  const choices = varied.reduce<readonly Flat[]>(
    (sofar, [option, values]) => sofar.flatMap((one) => values.map((value) => ({ ...one, [option]: value }))),
    [{}],
  );
  const models = [model].flat();
  return models.flatMap((one) => {
    const series = models.length > 1 || !name ? [name, shortName(one)].filter(Boolean).join(' ') : name;
    return choices.map((options): Job => {
      const label = labelOf(options);
      return { name: [series, label].filter(Boolean).join(', '), series, label, model: one, options };
    });
  });
}

/** One value or a list of them, each checked. Options that are lists themselves take one list. */
function valuesAt(where: string, option: string, given: unknown): readonly unknown[] {
  const fact = VARIED.find(({ name }) => name === option)!;
  const isList = ['numbers', 'integers', 'strings'].includes(fact.type);
  const values = Array.isArray(given) && !isList ? (given as unknown[]) : [given];
  if (values.length === 0) throw new InputError(`${where}: ${option} is an empty list; give a value, or leave it out`);
  for (const value of values)
    for (const group of GROUPS) {
      try {
        valuesOf(group, { [option]: value });
      } catch (error) {
        throw error instanceof InputError ? new InputError(`${where}: ${error.message}`) : error;
      }
    }
  return values;
}

const shortName = (model: string): string => model.replace(/\/+$/, '').split('/').at(-1)!;

/** heun, 18 steps, guidance 2 */
function labelOf(options: Flat): string {
  const words = Object.entries(options).map(([name, value]) => {
    if (name === 'sampler') return String(value);
    if (name === 'steps') return `${String(value)} ${value === 1 ? 'step' : 'steps'}`;
    return `${name} ${Array.isArray(value) ? value.join(' ') : String(value)}`;
  });
  return words.join(', ');
}
