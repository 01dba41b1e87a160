/** @file Finds the methods: every file of losses/ but those named …terms, which hold what several methods share. Adding a method touches no other file. */
import { readdir } from 'node:fs/promises';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { InputError } from '../../engine/io/errors.ts';
import { nearest } from '../../engine/io/nearest.ts';
import { followersOf, type Loss, originOf, recalledOf, shadowsOf } from '../../engine/train/loss.ts';
import { describe, facts, type OptionFact } from '../../engine/train/options.ts';

const folder = join(dirname(fileURLToPath(import.meta.url)), '../../losses');

/** Names of all methods, sorted. */
export async function methodNames(): Promise<string[]> {
  const files = await readdir(folder);
  const own = files
    .filter((file) => /\.(ts|js)$/.test(file) && !/\.(test|d)\.ts$/.test(file))
    .map((file) => file.slice(0, -extname(file).length));
  return own.filter((name) => !name.endsWith('terms')).sort();
}

/** A method by name. Errors: there is none. */
export async function method(name: string): Promise<Loss> {
  const names = await methodNames();
  if (!names.includes(name)) {
    const near = nearest(name, names);
    throw new InputError(`methods: there is no method ${name}${near ? `; did you mean ${near}?` : ''} (methods: ${names.join(', ')})`);
  }
  const module = (await import(pathToFileURL(join(folder, `${name}${extname(fileURLToPath(import.meta.url))}`)).href)) as { default: Loss };
  return module.default;
}

export const allMethods = async (): Promise<Loss[]> => Promise.all((await methodNames()).map(method));

/** What a method is, for lists and documents. */
export interface MethodFacts {
  readonly name: string;
  readonly title: string;
  /** arXiv id. */
  readonly reference: string;
  /** Whose weights each player starts from, or which player's average or path it is. */
  readonly players: Readonly<Record<string, string>>;
  readonly heads: readonly string[];
  /** What trains, phase by phase. */
  readonly phases: Readonly<Record<string, readonly string[]>>;
  readonly options: readonly (OptionFact & { readonly values: string })[];
  /** Settings of the run that suit the method. */
  readonly recommended: Readonly<Record<string, unknown>>;
}

function startOf(loss: Loss, player: string): string {
  if (followersOf(loss)[player]) return `average of ${shadowsOf(loss)[player]}`;
  return recalledOf(loss)[player] ? `path of ${shadowsOf(loss)[player]}` : originOf(loss, player);
}

export const factsOf = (loss: Loss): MethodFacts => ({
  name: loss.name,
  title: loss.title,
  reference: loss.reference,
  players: Object.fromEntries(Object.keys(loss.players).map((name) => [name, startOf(loss, name)])),
  heads: loss.heads ?? [],
  phases: Object.fromEntries(Object.entries(loss.phases).map(([name, phase]) => [name, phase.trains])),
  options: facts(loss.options).map((fact) => ({ ...fact, values: describe(fact) })),
  recommended: loss.recommended ?? {},
});
