/** @file Distance against images or seconds of every method as one SVG: a small chart each, with the others in grey behind. Axes are logarithmic. */
import { escapeText } from '../../eval/report/escape.ts';
import { logScale, type Scale } from '../../eval/report/scale.ts';

export type Point = readonly [x: number, y: number];
export interface Panel {
  readonly name: string;
  readonly points: readonly Point[];
}
export interface Panels {
  readonly title: string;
  /** Name of the axis, with its unit. */
  readonly x: string;
  readonly y: string;
  readonly panels: readonly Panel[];
  /** Levels to compare with: the teacher's distance, the floor. */
  readonly levels: readonly { readonly name: string; readonly y: number }[];
}

const COLUMNS = 5;
/** Pixels: a chart without its labels, room for the labels between charts, and around all of them. */
const [WIDTH, HEIGHT, GAP_X, GAP_Y, LEFT, TOP] = [140, 92, 16, 34, 46, 62] as const;

// No variables: some readers of SVG know none.
const STYLE = `
.panels{font:11px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif;font-variant-numeric:tabular-nums}
.panels text{fill:#5c646e}.panels .title{fill:#1c1f23;font-size:15px;font-weight:600}.panels .name{fill:#1c1f23;font-weight:600}
.panels path{fill:none;stroke-linejoin:round}.panels .grid{stroke:#e3e6ea}.panels .far{stroke:#c9ced5;stroke-width:.8}
.panels .own{stroke:#0b63b0;stroke-width:2}.panels .dot{fill:#0b63b0}.panels .level{stroke:#5c646e;stroke-dasharray:4 3}
@media (prefers-color-scheme:dark){.panels text{fill:#a0a8b2}.panels .title,.panels .name{fill:#e8eaed}.panels .grid{stroke:#2f343b}.panels .far{stroke:#464d57}
.panels .own{stroke:#6cb2f0}.panels .dot{fill:#6cb2f0}.panels .level{stroke:#a0a8b2}}
`.trim();

const round = (value: number): number => Number(value.toFixed(1));
const text = (x: number, y: number, content: string, attributes = ''): string =>
  `<text x="${round(x)}" y="${round(y)}" ${attributes}>${escapeText(content)}</text>`;
const drawable = ([x, y]: Point): boolean => Number.isFinite(x) && Number.isFinite(y) && x > 0 && y > 0;

interface Frame {
  readonly x: Scale;
  readonly y: Scale;
  readonly left: number;
  readonly top: number;
}
const at = ({ x, y, left, top }: Frame, [a, b]: Point): string =>
  `${round(left + WIDTH * x.position(a))},${round(top + HEIGHT * (1 - y.position(b)))}`;
const path = (frame: Frame, points: readonly Point[], kind: string): string =>
  points.length > 0 ? `<path class="${kind}" d="M${points.map((point) => at(frame, point)).join('L')}"/>` : '';

/** At most so many ticks, of those evenly apart. */
const few = (ticks: Scale['ticks'], count: number): Scale['ticks'] => {
  const every = Math.ceil(ticks.length / count);
  return ticks.filter((_, i) => i % every === 0);
};

/** Labels at the ends of an axis stay within it: the next chart has its own. */
const anchorAt = (position: number): string => `text-anchor="${position < 0.1 ? 'start' : position > 0.9 ? 'end' : 'middle'}"`;

/** A panel; the outermost ones carry the labels of the axes. */
function renderPanel({ panels, levels }: Panels, index: number, frame: Frame): string {
  const { name, points } = panels[index]!;
  const { x, y, left, top } = frame;
  const bottom = top + HEIGHT;
  const lastRow = index + COLUMNS >= panels.length;
  const rows = few(y.ticks, 4).map(({ value, label }) => {
    const height = round(top + HEIGHT * (1 - y.position(value)));
    const word = index % COLUMNS === 0 ? text(left - 6, height + 4, label, 'text-anchor="end"') : '';
    return `<path class="grid" d="M${left},${height}H${left + WIDTH}"/>${word}`;
  });
  const columns = lastRow
    ? few(x.ticks, 3).map(({ value, label }) => text(left + WIDTH * x.position(value), bottom + 14, label, anchorAt(x.position(value))))
    : [];
  const across = levels.map(({ y: level }) => {
    const height = round(top + HEIGHT * (1 - y.position(level)));
    return `<path class="level" d="M${left},${height}H${left + WIDTH}"/>`;
  });
  const far = panels.filter((_, i) => i !== index).map((other) => path(frame, other.points, 'far'));
  const dots = points.map((point) => `<circle class="dot" r="2.2" cx="${at(frame, point).replace(',', '" cy="')}"/>`);
  return [...rows, ...columns, ...far, ...across, path(frame, points, 'own'), ...dots, text(left, top - 6, name, 'class="name"')].join('');
}

/** A standalone SVG that follows the reader's light or dark setting. What is not finite and positive is left out, and so is a panel without points. */
export function renderPanels(given: Panels): string {
  const panels = given.panels
    .map(({ name, points }) => ({ name, points: points.filter(drawable) }))
    .filter(({ points }) => points.length > 0);
  const levels = given.levels.filter(({ y }) => drawable([1, y]));
  const all = panels.flatMap(({ points }) => points);
  const ys = [...all.map(([, y]) => y), ...levels.map(({ y }) => y)];
  const rows = Math.max(1, Math.ceil(panels.length / COLUMNS));
  const [width, height] = [LEFT + COLUMNS * (WIDTH + GAP_X) + 4, TOP + rows * (HEIGHT + GAP_Y) + 20];
  const head = [text(2, 18, given.title, 'class="title"'), text(2, 38, captionOf({ ...given, levels }))];
  const bounds = (values: readonly number[]): readonly [number, number] => [Math.min(...values), Math.max(...values)];
  const body = panels.map((_, i) => {
    const place = { left: LEFT + (i % COLUMNS) * (WIDTH + GAP_X), top: TOP + Math.floor(i / COLUMNS) * (HEIGHT + GAP_Y) };
    const scales = { x: logScale(...bounds(all.map(([x]) => x))), y: logScale(...bounds(ys)) };
    return renderPanel({ ...given, panels, levels }, i, { ...scales, ...place });
  });
  return [
    `<svg class="panels" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeText(given.title)}">`,
    `<style>${STYLE}</style>`,
    ...head,
    ...(body.length > 0 ? body : [text(LEFT, TOP + 12, 'No values to show.')]),
    '</svg>\n',
  ].join('\n');
}

/** What the axes are, and what the dashed lines stand for. */
function captionOf({ x, y, levels }: Panels): string {
  const named = levels.map(({ name, y: level }) => `${name} ${level.toFixed(3)}`).join(', ');
  return `${y} against ${x}, both logarithmic; grey: the other methods${named ? `; dashed: ${named}` : ''}`;
}
