/** @file Comparisons: complete, safe and the same in HTML, JSON and Markdown. */
import { describe, expect, test } from 'vitest';
import { elements } from '../testing/markup.ts';
import { comparisonJson, groupsOf } from './comparison.ts';
import { renderComparison } from './comparison-html.ts';
import { comparisonMarkdown, escapeMarkdown } from './comparison-markdown.ts';
import { bestRows, formatRange, formatValue, mainMetric, metricNames, metricOf } from './metrics.ts';
import { classTables, resultTables } from './tables.ts';
import { comparison, row } from './testing/comparison.ts';

describe('groups', () => {
  test('rows compare only at equal numbers of samples, against one reference, in one extractor; real images go with every number', () => {
    const [a, b] = comparison.rows;
    const other = row({ name: 'few', n: 100 });
    const foreign = row({ name: 'foreign', extractor: { name: 'digit classifier', sha256: 'other' } });
    const groups = groupsOf([...comparison.rows, other, foreign]);
    expect(groups.map(({ rows }) => rows.map(({ name }) => name))).toEqual([
      [a!.name, b!.name, 'teacher', 'real images'],
      ['few', 'real images'],
      ['foreign'],
    ]);
    expect(groups[0]!.title).toBe('against digits (10,000 images), 5,000 samples, digit classifier');
  });
});

describe('metrics', () => {
  test('the best is the lowest distance and the highest share; real images are beyond it, and nobody is best alone or among equals', () => {
    const { rows } = comparison;
    expect(bestRows(rows, 'frechet').map(({ name }) => name)).toEqual(['teacher']);
    expect(bestRows(rows, 'classAccuracy').map(({ name }) => name)).toEqual(['b']);
    expect(bestRows(rows.slice(0, 1), 'frechet')).toEqual([]);
    expect(bestRows([rows[0]!, { ...rows[0]!, name: 'same' }], 'frechet')).toEqual([]);
    expect(bestRows(rows, 'unheardOf')).toEqual([]);
  });
  test('names in the order of tables, unknown ones last and in words', () => {
    expect(metricNames([{ metrics: { zeta: { value: 1 }, recall: { value: 1 }, frechet: { value: 1 } } }])).toEqual([
      'frechet',
      'recall',
      'zeta',
    ]);
    expect(metricOf('someDistance')).toEqual({ label: 'some distance', better: 'lower' });
    expect(metricOf('constructor')).toEqual({ label: 'constructor', better: null });
  });
  test('models are compared by the distance that most of them have', () => {
    const few = row({ metrics: { frechet: { value: 1 } } });
    const many = [1, 2].map((value) => row({ metrics: { frechetHeldOut: { value } } }));
    expect(mainMetric([few, ...many])).toBe('frechetHeldOut');
    expect(mainMetric([row({ metrics: { recall: { value: 1 } } })])).toBeNull();
  });
  test.each([
    [0.9884, '0.988'],
    [12.345, '12.35'],
    [1234.5, '1,235'],
    [-0.25, '−0.250'],
    [0, '0.000'],
    [0.0000123, '1.23e−5'],
  ])('%d is written %s', (value, text) => expect(formatValue(value)).toBe(text));
  test('an interval needs both ends', () => {
    expect(formatRange({ value: 1, low: 0.5, high: 2 })).toBe('0.500 to 2.000');
    expect(formatRange({ value: 1, low: 0.5 })).toBe('');
  });
});

describe('tables', () => {
  test('intervals stand below their number, the best is marked, what is missing is a dash', () => {
    const [{ columns, rows, note }] = resultTables(comparison.rows) as [ReturnType<typeof resultTables>[number]];
    expect(columns).toEqual(['', 'Fréchet distance\u00a0↓', 'class accuracy\u00a0↑', 'network evaluations', 'seconds an image']);
    expect(rows[0]).toEqual([
      { text: 'a' },
      { text: '2.000', detail: '1.900 to 2.100' },
      { text: '0.900' },
      { text: '1' },
      { text: '0.01' },
    ]);
    expect(rows[2]![1]).toEqual({ text: '1.200', best: true });
    expect(rows[2]![2]).toEqual({ text: '–' });
    expect(note).toContain('abababababababab…');
  });
  test('by class: a table of accuracies, and one of distances where there are any', () => {
    const [accuracy, frechet, ...none] = classTables(comparison.rows);
    expect(none).toEqual([]);
    expect(accuracy!.columns).toEqual(['class', 'a', 'b']);
    expect(frechet!.rows[1]).toEqual([{ text: '1' }, { text: '–' }, { text: '–' }]);
    expect(classTables([row({ perClass: [] })])).toEqual([]);
  });
});

describe('HTML', () => {
  const html = renderComparison(comparison);
  test('is well formed, with its sections in order', () => {
    elements(html);
    const order = [
      'class="skip"',
      '<h1>Two students',
      'b is nearer.',
      'runs/x: is no run folder',
      '>Results<',
      '>Quality and its cost<',
      '>On the way<',
      '>Samples<',
      '>Nearest training images<',
      '>By class<',
      '>How each was measured<',
      '>Runs<',
      '<dt>onestep',
    ];
    const places = order.map((part) => html.indexOf(part));
    expect(places.every((place) => place > 0)).toBe(true);
    expect(places).toEqual([...places].sort((a, b) => a - b));
  });
  test('asks for nothing from outside and runs nothing', () => {
    expect(elements(html).filter((name) => ['script', 'link', 'iframe', 'object', 'base', 'form'].includes(name))).toEqual([]);
    const addresses = [...html.matchAll(/\b(?:src|href|data|action|srcset)="([^"]{0,22})/g)].map((match) => match[1]);
    expect(addresses).toEqual(['#content', ...Array<string>(2).fill('data:image/png;base64,')]);
    expect(html).not.toMatch(/url\(|@import|\son[a-z]+=/);
    expect(html.replaceAll('http://www.w3.org/2000/svg', '')).not.toMatch(/https?:/);
    expect(html).toContain("default-src 'none'");
    expect(html).not.toContain('script-src');
  });
  test('a page that is served loads its script from its own server alone', () => {
    const live = renderComparison(comparison, { status: 'step 3 <of> 4', script: '/watch.js' });
    expect(live).toContain("script-src 'self'; connect-src 'self'");
    expect(live).toContain('<script src="/watch.js" defer=""></script>');
    expect(live).toContain('step 3 &lt;of&gt; 4');
  });
  test('ids are unique, labels have their boxes, tables have captions and regions names', () => {
    const ids = [...html.matchAll(/ id="([^"]*)"/g)].map(([, id]) => id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const [, id] of html.matchAll(/<label for="([^"]*)"/g)) expect(ids).toContain(id);
    expect(html.match(/<caption>/g)).toHaveLength(html.match(/<table/g)!.length);
    expect([...html.matchAll(/role="(?:region|group|img)"(?![^>]*aria-label="[^"])/g)].map(([text]) => text)).toEqual([]);
  });
  test('every string is escaped', () => {
    const nasty = `</pre></style><script>alert("1")</script><img src=x onerror='1'>&`;
    const unsafe = renderComparison(spoilt(comparison, nasty) as typeof comparison);
    expect(elements(unsafe).filter((name) => name === 'script')).toEqual([]);
    expect(unsafe).not.toContain("onerror='1'");
    expect(unsafe.split('&lt;script&gt;').length).toBeGreaterThan(40);
  });
  test('nothing but a title is still a page', () => {
    const none = { ...comparison, summary: [], problems: [], rows: [], runs: [], samples: [], neighbours: [], facts: {} };
    const bare = renderComparison(none);
    expect(elements(bare)).not.toContain('section');
    expect(comparisonMarkdown(none)).toBe('# Two students\n');
  });
});

/** The same with every string replaced, names of fields of metrics and settings among them. */
function spoilt(value: unknown, text: string): unknown {
  if (typeof value === 'string') return text;
  if (value instanceof Uint8Array || typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((one) => spoilt(one, text));
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => {
      if (key === 'metrics') return [key, { [text]: { value: 1 } }];
      if (key === 'kind') return [key, inner as unknown];
      return [key, key === 'settings' || key === 'facts' ? { [text]: text } : spoilt(inner, text)];
    }),
  );
}

describe('JSON', () => {
  test('holds everything but the bytes of pictures', () => {
    const read = JSON.parse(comparisonJson(comparison)) as typeof comparison;
    expect(read).toEqual({
      kind: 'report',
      format: 1,
      ...comparison,
      samples: [{ title: 'a', alt: 'samples of a', note: 'not selected.' }],
      neighbours: [{ title: 'a', alt: 'neighbours of a' }],
    });
  });
});

test('JSON: of a long curve at most a thousand points, the last among them', () => {
  const points = Array.from({ length: 12_345 }, (_, i) => ({ images: i, seconds: i, value: i }));
  const [run] = comparison.runs;
  const read = JSON.parse(comparisonJson({ ...comparison, runs: [{ ...run!, terms: [{ name: 'a/b', points }] }] })) as typeof comparison;
  const kept = read.runs[0]!.terms[0]!.points;
  expect(kept.length).toBeLessThanOrEqual(1000);
  expect(kept.length).toBeGreaterThan(900);
  expect(kept.at(-1)).toEqual(points.at(-1));
});

describe('Markdown', () => {
  test('has the rows of the tables, the commands and the settings', () => {
    const text = comparisonMarkdown(comparison);
    expect(text).toContain('| a | 2.000 (1.900 to 2.100) | 0.900 | 1 | 0.01 |');
    expect(text).toContain('| teacher | **1.200** | – | 35 | 0.01 |');
    expect(text).toContain('```sh\nonestep evaluate a\n```');
    expect(text).toContain('| optimizer.betas | \\[0,0.99\\] |');
    expect(text).toContain('- runs/x: is no run folder');
  });
  test.each([
    ['a|b', 'a\\|b'],
    ['<b>', '\\<b\\>'],
    ['two\nlines', 'two lines'],
    ['- item', '\\- item'],
    ['1. item', '1\\. item'],
    ['0.988', '0.988'],
    ['[x](javascript:1)', '\\[x\\](javascript:1)'],
    ['https://a.example', 'https\\://a.example'],
  ])('%j becomes %j', (text, escaped) => expect(escapeMarkdown(text)).toBe(escaped));
  test('a command with fences in it does not end its own', () => {
    const text = comparisonMarkdown({ ...comparison, rows: [row({ command: 'echo ```\n# no heading' })] });
    expect(text).toContain('````sh\necho ```\n# no heading\n````');
  });
});
