/** @file A report as one HTML file that needs nothing else: no scripts, no requests, pictures inside. */
import { type Chart, renderChart } from './chart.ts';
import { escapeText } from './escape.ts';
import { type Figure, flatSettings, renderFacts, renderFigure, renderPage, section } from './page.ts';
import { stylesheet } from './style.ts';

export type { Figure } from './page.ts';

export interface Report {
  readonly title: string;
  /** A sentence each. */
  readonly summary: readonly string[];
  /** Columns that hold numbers only are set flush right. */
  readonly table: { readonly columns: readonly string[]; readonly rows: readonly (readonly string[])[]; readonly note?: string };
  readonly charts: readonly Chart[];
  /** The first stands large above the results, the others after the charts. */
  readonly figures: readonly Figure[];
  /** Command lines. */
  readonly reproduce: readonly string[];
  readonly settings: Readonly<Record<string, unknown>>;
  /** Versions and the like: what a reader needs to compare, nothing about the machine. */
  readonly facts: Readonly<Record<string, string>>;
}

const contentWidth = 760;

/** HTML5 text of a report; every string is escaped. Throws an InputError where a figure is not a PNG. */
export function renderReport(report: Report): string {
  const [first, ...others] = report.figures;
  const facts = renderFacts(report.facts);
  const sections = [
    first ? renderFigure(first, contentWidth) : '',
    report.table.rows.length ? section('Results', renderTable(report.table)) : '',
    report.charts.length ? section('Curves', report.charts.map((chart) => `<div class="plot">${renderChart(chart)}</div>`).join('\n')) : '',
    others.length ? section('More pictures', others.map((figure) => renderFigure(figure, contentWidth)).join('\n')) : '',
    report.reproduce.length ? section('How to reproduce', `<pre><code>${report.reproduce.map(escapeText).join('\n')}</code></pre>`) : '',
    renderSettings(report.settings),
    facts ? `<footer>${facts}</footer>` : '',
  ];
  return renderPage({
    title: report.title,
    styles: stylesheet,
    body: `<main>
<header>
<h1>${escapeText(report.title)}</h1>
${report.summary.length ? `<ul class="summary">${report.summary.map((line) => `<li>${escapeText(line)}</li>`).join('')}</ul>` : ''}
</header>
${sections.filter(Boolean).join('\n')}
</main>`,
  });
}

// 1, −0.5, 12,000, 1.2e-5, 97.3 %, 3.1 ± 0.2, 4.2 s; a dash or nothing stands for a missing number.
const numeric = /^([<>≈~]?\s*[−+-]?\d[\d.,\s]*(e[−+-]?\d+)?\s*(%|×|[kMG]?B?|[munµ]?s|min|h)?(\s*±\s*[\d.,]+\s*%?)?|[–—-]?)$/u;

function renderTable({ columns, rows, note }: Report['table']): string {
  const flush = columns.map((_, j) => (rows.every((row) => numeric.test(row[j] ?? '')) ? ' class="number"' : ''));
  const head = columns.map((name, j) => `<th scope="col"${flush[j]}>${escapeText(name)}</th>`).join('');
  const body = rows
    .map((row) => `<tr>${columns.map((_, j) => `<td${flush[j]}>${escapeText(row[j] ?? '')}</td>`).join('')}</tr>`)
    .join('\n');
  const table = `<div class="wide"><table>\n<thead><tr>${head}</tr></thead>\n<tbody>\n${body}\n</tbody>\n</table></div>`;
  return note ? `${table}\n<p class="note">${escapeText(note)}</p>` : table;
}

function renderSettings(settings: Report['settings']): string {
  const rows = flatSettings(settings).map(
    ([name, value]) => `<tr><th scope="row">${escapeText(name)}</th><td>${escapeText(value)}</td></tr>`,
  );
  if (rows.length === 0) return '';
  return `<details><summary>Settings</summary>\n<div class="wide"><table class="plain">\n<tbody>\n${rows.join('\n')}\n</tbody>\n</table></div>\n</details>`;
}
