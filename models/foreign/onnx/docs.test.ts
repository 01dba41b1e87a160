/** @file The page about ONNX lists exactly the operators that are read, with what is said of them in the table of operators. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { OPSETS } from './model.ts';
import type { Operators } from './node.ts';
import { FAMILIES } from './operators/index.ts';
import { denoiserKinds, scheduleNames } from './schedules.ts';

const page = readFileSync(new URL('../../../docs/onnx.md', import.meta.url), 'utf8');
const GRADIENTS = { yes: 'yes', none: '–', zero: '0' } as const;
const rowsOf = (operators: Operators): string =>
  Object.entries(operators)
    .map(([name, { gradient, limits }]) => `| \`${name}\` | ${GRADIENTS[gradient]} | ${limits ?? ''} |`)
    .join('\n');
const tables = Object.entries(FAMILIES)
  .map(([family, operators]) => `### ${family}\n\n| operator | gradient | limits |\n|---|---|---|\n${rowsOf(operators)}\n`)
  .join('\n');

test('the tables are those of the code', () => {
  const [, written = ''] = page.split('<!-- operators -->\n');
  expect(written.trim()).toBe(tables.trim());
});
test('opsets, kinds and schedules are named', () => {
  expect(page).toContain(`opset ${OPSETS.first} to ${OPSETS.last}`);
  for (const word of [...denoiserKinds, ...scheduleNames]) expect(page, word).toContain(`\`${word}\``);
});
test('what the example imports is exported', () => {
  const entry = readFileSync(new URL('../../../index.ts', import.meta.url), 'utf8');
  const names = [...page.matchAll(/import \{ ([^}]+) \} from 'onestep'/g)].flatMap((m) => m[1]!.split(', '));
  expect(names.length).toBeGreaterThan(2);
  expect(names.filter((name) => !new RegExp(`\\b${name}\\b`).test(entry))).toEqual([]);
});
