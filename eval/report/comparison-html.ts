/** @file A comparison of runs as one HTML file that needs nothing else: no requests, no scripts, pictures inside. */
import type { Comparison, Picture, Run } from './comparison.ts';
import { costCharts, scoreCharts, termCharts } from './comparison-charts.ts';
import { comparisonStylesheet } from './comparison-style.ts';
import { escapeText } from './escape.ts';
import { flatSettings, renderFacts, renderFigure, renderPage, section } from './page.ts';
import { renderSwitchable, type Switchable } from './switchable.ts';
import { type Cell, classTables, resultTables, type Table } from './tables.ts';

/** What a page that is served and updated has beside the comparison. */
export interface Live {
  /** Where the run is, in a sentence. */
  readonly status: string;
  /** Address of the script that updates the page. */
  readonly script: string;
}

const PICTURE_WIDTH = 340;

/** HTML5 text; every string is escaped. Throws an InputError where a picture is not a PNG. */
export function renderComparison(comparison: Comparison, live?: Live): string {
  const main = `<main id="content" tabindex="-1">\n${renderContent(comparison, live)}\n</main>`;
  return renderPage({
    title: comparison.title,
    styles: comparisonStylesheet,
    body: `<a class="skip" href="#content">Skip to the content</a>\n${main}`,
    ...(live
      ? { policy: "script-src 'self'; connect-src 'self'", head: `<script src="${escapeText(live.script)}" defer=""></script>` }
      : {}),
  });
}

function renderContent(comparison: Comparison, live?: Live): string {
  const { title, summary, problems, rows, runs, samples, neighbours, facts } = comparison;
  const [results, classes] = [resultTables(rows), classTables(rows)];
  const [costs, scores] = [costCharts(comparison), scoreCharts(comparison)];
  const foot = renderFacts(facts);
  return [
    `<header>\n<h1>${escapeText(title)}</h1>`,
    live ? `<p class="status" id="status">${escapeText(live.status)}</p>` : '',
    list(summary, 'summary'),
    problems.length ? `${list(problems, 'problems', 'What was left out')}` : '',
    '</header>',
    results.length ? section('Results', results.map(renderTable).join('\n')) : '',
    costs.length ? section('Quality and its cost', renderCharts(costs)) : '',
    scores.length ? section('On the way', renderCharts(scores)) : '',
    samples.length ? section('Samples', renderPictures(samples)) : '',
    neighbours.length ? section('Nearest training images', renderPictures(neighbours)) : '',
    classes.length ? section('By class', classes.map(renderTable).join('\n')) : '',
    renderCommands(comparison),
    runs.length
      ? section('Runs', `<div class="runs">\n${runs.map((run, i) => renderRun(run, `run-${i}`, runs.length === 1)).join('\n')}\n</div>`)
      : '',
    foot ? `<footer>${foot}</footer>` : '',
  ]
    .filter(Boolean)
    .join('\n');
}

function list(lines: readonly string[], name: string, label?: string): string {
  if (lines.length === 0) return '';
  const items = lines.map((line) => `<li>${escapeText(line)}</li>`).join('');
  return `<ul class="${name}"${label ? ` aria-label="${escapeText(label)}"` : ''}>${items}</ul>`;
}

const renderCharts = (charts: readonly Switchable[]): string => `<div class="charts">\n${charts.map(renderSwitchable).join('\n')}\n</div>`;
const renderPictures = (pictures: readonly Picture[]): string =>
  `<div class="pictures">\n${pictures.map((picture) => renderFigure(picture, PICTURE_WIDTH)).join('\n')}\n</div>`;

/** In a region that scrolls by itself, which the keyboard reaches. */
function renderTable({ caption, columns, rows, note }: Table): string {
  const head = columns.map((name, i) => `<th scope="col"${i > 0 ? ' class="number"' : ''}>${escapeText(name)}</th>`).join('');
  const body = rows.map(
    ([first, ...others]) => `<tr><th scope="row">${escapeText(first!.text)}</th>${others.map(renderCell).join('')}</tr>`,
  );
  const table = `<table>\n<caption>${escapeText(caption)}</caption>\n<thead><tr>${head}</tr></thead>\n<tbody>\n${body.join('\n')}\n</tbody>\n</table>`;
  const region = `<div class="wide" role="region" aria-label="${escapeText(caption)}, scrollable" tabindex="0">${table}</div>`;
  return note ? `${region}\n<p class="note">${escapeText(note)}</p>` : region;
}

function renderCell({ text, detail, best }: Cell): string {
  const value = best ? `<strong class="best">${escapeText(text)}</strong>` : escapeText(text);
  return `<td class="number">${value}${detail ? `<span class="interval">${escapeText(detail)}</span>` : ''}</td>`;
}

/** Each evaluation with its command and settings. */
function renderCommands({ rows }: Comparison): string {
  const measured = rows.filter(({ command, kind }) => command !== null && kind !== 'real');
  if (measured.length === 0) return '';
  const items = measured.map(
    ({ name, command, settings, extractor }, i) => `<details id="measured-${i}">
<summary>${escapeText(name)}</summary>
<div class="body">
<pre tabindex="0" role="region" aria-label="${escapeText(`Command of ${name}`)}"><code>${escapeText(command!)}</code></pre>
${renderSettings({ ...settings, ...(extractor ? { extractor: extractor.name, ...(extractor.sha256 ? { extractorSha256: extractor.sha256 } : {}) } : {}) }, `Settings of ${name}`)}
</div>
</details>`,
  );
  return section('How each was measured', `<div class="runs">\n${items.join('\n')}\n</div>`);
}

function renderSettings(settings: Run['settings'], caption: string): string {
  const rows = flatSettings(settings).flatMap(([name, value]) =>
    name === '' ? [] : [`<tr><th scope="row">${escapeText(name)}</th><td>${escapeText(value)}</td></tr>`],
  );
  if (rows.length === 0) return '';
  const table = `<table class="plain">\n<caption>${escapeText(caption)}</caption>\n<tbody>\n${rows.join('\n')}\n</tbody>\n</table>`;
  return `<div class="wide" role="region" aria-label="${escapeText(caption)}, scrollable" tabindex="0">${table}</div>`;
}

function renderRun(run: Run, id: string, open: boolean): string {
  const charts = termCharts(run, id);
  return `<details id="${id}"${open ? ' open=""' : ''}>
<summary>${escapeText(run.name)}</summary>
<div class="body">
${[
  ...run.notes.map((note) => `<p class="note">${escapeText(note)}</p>`),
  run.command === null
    ? ''
    : `<h3>Command</h3>\n<pre tabindex="0" role="region" aria-label="${escapeText(`Command of ${run.name}`)}"><code>${escapeText(run.command)}</code></pre>`,
  renderFacts(run.facts),
  charts.length ? `<h3>Losses</h3>\n${renderCharts(charts)}` : '',
  renderSettings(run.settings, `Settings of ${run.name}`),
]
  .filter(Boolean)
  .join('\n')}
</div>
</details>`;
}
