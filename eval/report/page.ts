/** @file The frame of every page: one HTML file that needs nothing else, and says so to the browser. */
import { InputError } from '../../engine/io/errors.ts';
import { escapeText } from './escape.ts';

export interface Page {
  readonly title: string;
  readonly styles: string;
  /** Markup of the body. */
  readonly body: string;
  /** What the page may load beside its own styles and pictures; nothing by default. */
  readonly policy?: string;
  /** More markup of the head. */
  readonly head?: string;
}

// The file asks for nothing from outside.
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/** HTML5 text. */
export function renderPage({ title, styles, body, policy, head }: Page): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${POLICY}${policy ? `; ${policy}` : ''}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeText(title)}</title>
<style>${styles}</style>${head ? `\n${head}` : ''}
</head>
<body>
${body}
</body>
</html>
`;
}

/** A picture of a page. */
export interface Figure {
  readonly title: string;
  readonly png: Uint8Array;
  readonly alt: string;
  readonly note?: string;
}

/** The picture inside the page, with its words. @param width to which small pictures are enlarged. Throws an InputError where it is not a PNG. */
export function renderFigure({ title, png, alt, note }: Figure, contentWidth: number): string {
  const { width, height } = pngSize(png, title);
  // Small pictures are shown at a whole multiple of their size: pixels stay square and sharp.
  const scale = Math.max(1, Math.floor(contentWidth / width));
  const source = `data:image/png;base64,${Buffer.from(png).toString('base64')}`;
  return `<figure>
<img src="${source}" width="${width * scale}" height="${height * scale}" alt="${escapeText(alt)}"${scale > 1 ? ' class="pixels"' : ''}>
<figcaption><strong>${escapeText(title)}</strong>${note ? ` ${escapeText(note)}` : ''}</figcaption>
</figure>`;
}

const pngStart = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** Size in pixels from the header chunk, which a PNG starts with (PNG specification, 11.2.1). */
function pngSize(png: Uint8Array, title: string): { readonly width: number; readonly height: number } {
  const bytes = new DataView(png.buffer, png.byteOffset, png.byteLength);
  const size =
    png.length >= 24 && pngStart.every((byte, i) => png[i] === byte)
      ? { width: bytes.getUint32(16), height: bytes.getUint32(20) }
      : undefined;
  if (!size?.width || !size.height)
    throw new InputError(`report: figure "${title}" (${png.length} bytes) is not a PNG; encode its pixels first`);
  return size;
}

/** A section with its heading. */
export const section = (title: string, content: string): string => `<section>\n<h2>${escapeText(title)}</h2>\n${content}\n</section>`;

/** Nested settings as dotted names: optimizer.learningRate. */
export function flatSettings(value: unknown, name = ''): readonly (readonly [string, string])[] {
  if (typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value)) {
    return Object.entries(value).flatMap(([key, inner]) => flatSettings(inner, name ? `${name}.${key}` : key));
  }
  return [[name, typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value))]];
}

/** Names and values as a list at the end of what they belong to. */
export function renderFacts(facts: Readonly<Record<string, string>>): string {
  const entries = Object.entries(facts).map(([name, value]) => `<div><dt>${escapeText(name)}</dt><dd>${escapeText(value)}</dd></div>`);
  return entries.length ? `<dl>${entries.join('')}</dl>` : '';
}
