/** @file Character references of HTML as Python's `html.unescape` resolves them: by number and by name, with or without a semicolon. */
import { CP1252 } from './cp1252.ts';
import { HTML_BARE_NAMES, HTML_NAMES } from './html-names.ts';

const words = (text: string): readonly string[] => text.trim().split(/\s+/);
const character = (codes: string): string => String.fromCodePoint(...codes.split(',').map((code) => Number.parseInt(code, 16)));
/** Names, led by nothing and ended by a semicolon where they need one. */
const NAMED: ReadonlyMap<string, string> = (() => {
  const closed = words(HTML_NAMES).map((word): [string, string] => {
    const [name, codes] = word.split('=') as [string, string];
    return [`${name};`, character(codes)];
  });
  const known = new Map(closed);
  return new Map([...closed, ...words(HTML_BARE_NAMES).map((name): [string, string] => [name, known.get(`${name};`)!])]);
})();

const isNoncharacter = (code: number): boolean => (code >= 0xfdd0 && code <= 0xfdef) || (code & 0xfffe) === 0xfffe;
const isControl = (code: number): boolean =>
  (code >= 1 && code <= 8) || code === 0xb || (code >= 0xe && code <= 0x1f) || (code >= 0x7f && code <= 0x9f);

/** What the standard makes of a number: those of Windows-1252 where controls would be, nothing for what is no character. */
function numbered(code: number): string {
  if (code === 0 || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return '\ufffd';
  if (code >= 0x80 && code <= 0x9f) return CP1252[code - 0x80]!;
  if (code === 0xd) return '\r';
  return isNoncharacter(code) || isControl(code) ? '' : String.fromCodePoint(code);
}

/** The longest name that a reference begins with. */
function named(reference: string): string {
  const whole = NAMED.get(reference);
  if (whole !== undefined) return whole;
  for (let end = reference.length - 1; end > 1; end--) {
    const found = NAMED.get(reference.slice(0, end));
    if (found !== undefined) return `${found}${reference.slice(end)}`;
  }
  return `&${reference}`;
}

/** `&eacute;` → é, `&#39;` → ', `&#x27` → '. What is no reference stays. */
export const unescapeHtml = (text: string): string =>
  text.replace(/&(#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)/g, (_, reference: string) => {
    if (!reference.startsWith('#')) return named(reference);
    const digits = reference.slice(1).replace(';', '');
    return numbered(/^[xX]/.test(digits) ? Number.parseInt(digits.slice(1), 16) : Number.parseInt(digits, 10));
  });
