/** @file The page about samplers and schedules lists all of them with their options and references. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { samplers } from './index.ts';
import { schedules } from './schedules.ts';

const page = readFileSync(new URL('../docs/samplers.md', import.meta.url), 'utf8');
/** Name, options and reference of the rows of tables that have `columns` columns. */
const rows = (columns: number): readonly string[] =>
  page
    .split('\n')
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )
    .filter((cells) => cells.length === columns && /^`.+`$/.test(cells[0]!))
    .map((cells) =>
      [cells[0]!.slice(1, -1), cells.at(-3), /^\[(.+)\]\(https:\/\/arxiv\.org\/abs\/\1\)$/.exec(cells.at(-2)!)?.[1]].join(' | '),
    );
const known = (families: typeof samplers | typeof schedules): readonly string[] =>
  Object.values(families).map(({ name, options, reference }) => [name, Object.keys(options.shape).join(', '), reference].join(' | '));

test('samplers', () => expect(rows(6)).toEqual(known(samplers)));
test('schedules', () => expect(rows(5)).toEqual(known(schedules)));
