/** @file A comparison of runs as Markdown: tables, commands and settings, without pictures. */
import type { Comparison } from './comparison.ts';
import { flatSettings } from './page.ts';
import { type Cell, classTables, resultTables, type Table } from './tables.ts';

/** Markdown text in which what runs are called is text and nothing else. */
export function comparisonMarkdown({ title, summary, problems, rows, runs, facts }: Comparison): string {
  const parts = [
    `# ${escapeMarkdown(title)}`,
    bullets(summary),
    problems.length ? `Left out:\n\n${bullets(problems)}` : '',
    ...resultTables(rows).map(tableOf),
    ...classTables(rows).map(tableOf),
    ...rows.flatMap(({ name, command, kind }) =>
      command === null || kind === 'real' ? [] : [`## ${escapeMarkdown(name)}`, fenced(command)],
    ),
    ...runs.flatMap(({ name, notes, command, settings }) => [
      `## Run ${escapeMarkdown(name)}`,
      bullets(notes),
      command === null ? '' : fenced(command),
      tableOf({
        caption: `Settings of ${name}`,
        columns: ['setting', 'value'],
        rows: flatSettings(settings).flatMap(([key, value]) => (key === '' ? [] : [[{ text: key }, { text: value }]])),
      }),
    ]),
    bullets(Object.entries(facts).map(([name, value]) => `${name}: ${value}`)),
  ];
  return `${parts.filter(Boolean).join('\n\n')}\n`;
}

/** Marks of Markdown and HTML as plain characters, on one line. */
export const escapeMarkdown = (text: string): string =>
  text
    .replace(/\s+/g, ' ')
    .replace(/[\\`*_{}[\]<>#|~!&$]/g, '\\$&')
    .replace(/^([-+])(?=\s|$)/, '\\$1')
    .replace(/^(\d+)([.)])(?=\s|$)/, '$1\\$2') // these would begin a list
    .replace(/\b(https?|ftp):/gi, '$1\\:'); // addresses would become links

const bullets = (lines: readonly string[]): string => lines.map((line) => `- ${escapeMarkdown(line)}`).join('\n');

/** A fence longer than any inside. */
function fenced(code: string): string {
  const longest = Math.max(2, ...[...code.matchAll(/`+/g)].map(([run]) => run.length));
  const fence = '`'.repeat(longest + 1);
  return `${fence}sh\n${code}\n${fence}`;
}

function tableOf({ caption, columns, rows, note }: Table): string {
  if (rows.length === 0) return '';
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [
    `**${escapeMarkdown(caption)}**`,
    '',
    line(columns.map(escapeMarkdown)),
    line(columns.map((_, i) => (i === 0 ? '---' : '--:'))),
    ...rows.map((cells) => line(cells.map(cellText))),
    ...(note ? ['', escapeMarkdown(note)] : []),
  ].join('\n');
}

function cellText({ text, detail, best }: Cell): string {
  const value = best ? `**${escapeMarkdown(text)}**` : escapeMarkdown(text);
  return detail ? `${value} (${escapeMarkdown(detail)})` : value;
}
