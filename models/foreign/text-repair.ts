/**
 * @file What open_clip does to a caption before it looks for words: repairs in the manner of ftfy, HTML's references twice, white space, lower case.
 * Of ftfy's repairs of mixed-up encodings those of UTF-8 read as Windows-1252 are here; rarer encodings are left as they are.
 */
import { CP1252 } from './cp1252.ts';
import { unescapeHtml } from './html-unescape.ts';

const BYTE_OF: ReadonlyMap<string, number> = new Map(CP1252.map((c, i) => [c, 0x80 + i]));
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The text whose UTF-8 bytes, read as Windows-1252, are this one; undefined where there is none. */
function misread(text: string): string | undefined {
  const bytes: number[] = [];
  for (const c of text) {
    const code = c.codePointAt(0)!;
    const byte = BYTE_OF.get(c) ?? (code < 0x100 ? code : undefined);
    if (byte === undefined) return undefined;
    bytes.push(byte);
  }
  try {
    return decoder.decode(Uint8Array.from(bytes));
  } catch {
    return undefined; // not UTF-8
  }
}

/** Any character of a byte from 0x80 to 0xbf, and a lead byte with it: few texts hold such a pair on purpose. */
const TAIL = `[\u0080-\u00bf${CP1252.filter((c) => c > '\u00ff').join('')}]`;
const PAIR = new RegExp(`[\u00c2-\u00f4]${TAIL}`);
/** Beginnings that are hardly ever meant: of Latin letters and signs (Â, Ã), of punctuation (â€), of emoji (ðŸ). */
const CLUSTER = new RegExp(`[\u00c2\u00c3]${TAIL}|\u00e2€${TAIL}|\u00f0Ÿ${TAIL}{2}`, 'g');

/** Text that was UTF-8 and was read as Windows-1252: the whole of it, or the parts that look it. */
function unmix(text: string): string {
  if (!PAIR.test(text)) return text;
  return misread(text) ?? text.replace(CLUSTER, (part) => misread(part) ?? part);
}

const LIGATURES: Readonly<Record<string, string>> = {
  Ĳ: 'IJ',
  ĳ: 'ij',
  ŉ: 'ʼn',
  Ǳ: 'DZ',
  ǲ: 'Dz',
  ǳ: 'dz',
  Ǆ: 'DŽ',
  ǅ: 'Dž',
  ǆ: 'dž',
  Ǉ: 'LJ',
  ǈ: 'Lj',
  ǉ: 'lj',
  Ǌ: 'NJ',
  ǋ: 'Nj',
  ǌ: 'nj',
  ﬀ: 'ff',
  ﬁ: 'fi',
  ﬂ: 'fl',
  ﬃ: 'ffi',
  ﬄ: 'ffl',
  ﬅ: 'ſt',
  ﬆ: 'st',
};
const LIGATURE = new RegExp(`[${Object.keys(LIGATURES).join('')}]`, 'g');

/** Repairs in ftfy's order. */
const REPAIRS: readonly ((text: string) => string)[] = [
  (t) => (t.includes('<') ? t : unescapeHtml(t)),
  // biome-ignore lint/suspicious/noControlCharactersInRegex: terminals' escape sequences begin with one
  (t) => t.replace(/\u001b\[[\d;]*[a-zA-Z]/g, ''),
  unmix,
  (t) => t.replace(/[\u0080-\u009f]/g, (c) => CP1252[c.charCodeAt(0) - 0x80]!),
  (t) => t.replace(LIGATURE, (c) => LIGATURES[c]!),
  (t) => t.replace(/[\u3000\uff01-\uffef]/g, (c) => c.normalize('NFKC')),
  (t) => t.replace(/[\u02bc\u2018-\u201b]/g, "'").replace(/[\u201c-\u201f]/g, '"'),
  (t) => t.replace(/\r\n|[\r\u2028\u2029\u0085]/g, '\n'),
  (t) => t.replace(/\p{Surrogate}/gu, '\ufffd'), // only those without a partner match
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is removed
  (t) => t.replace(/[\u0000-\u0008\u000b\u000e-\u001f\u007f\u206a-\u206f\ufeff\ufff9-\ufffc]/g, ''),
  (t) => t.normalize('NFC'),
];

/** What Python's `str.split` takes for white space. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: the separators of files and records are among it
const SPACE = /[\t-\r\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/g;

/** open_clip's cleaning, `lower`. */
export function cleanCaption(text: string): string {
  const repaired = REPAIRS.reduce((t, repair) => repair(t), text);
  return unescapeHtml(unescapeHtml(repaired)).replace(SPACE, ' ').trim().toLowerCase();
}
