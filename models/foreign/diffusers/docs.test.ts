/** @file The page about diffusers names every class and scheduler, and imports what the package exports. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import * as samplers from '../../../samplers/index.ts';
import { networkNames } from './networks.ts';
import { schedulerNames } from './schedulers.ts';

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');
const page = read('docs/diffusers.md');
const rows = (heading: string): readonly (readonly string[])[] =>
  page
    .split(`## ${heading}\n`)[1]!
    .split('\n## ')[0]!
    .split('\n')
    .flatMap((line) => (/^\| `(\w+)` \|(.*)\|$/.test(line) ? [/^\| `(\w+)` \|(.*)\|$/.exec(line)!.slice(1)] : []));

test('networks and schedulers', () => {
  expect(rows('Networks').map(([name]) => name)).toEqual(networkNames);
  expect(rows('Schedulers').map(([name]) => name)).toEqual(schedulerNames);
});
test('samplers exist', () => {
  const named = rows('Schedulers').flatMap(([, text]) => [...text!.matchAll(/`([\w-]+)`/g)].map((m) => m[1]!));
  expect(named.filter((name) => !Object.hasOwn(samplers.samplers, name))).toEqual([]);
});
test('what the examples import is exported', () => {
  const entry = read('index.ts');
  const names = [...page.matchAll(/import \{ ([^}]+) \} from 'onestep'/g)].flatMap((m) => m[1]!.split(', '));
  expect(names.length).toBeGreaterThan(5);
  expect(names.filter((name) => !new RegExp(`\\b${name}\\b`).test(entry))).toEqual([]);
});
