/** @file Byte-pair encoding with CLIP's vocabulary as open_clip and OpenAI apply it: words of a regular expression, bytes as letters, merges by rank. Sennrich et al. 2016, arXiv:1508.07909. */
import { InputError } from '../../engine/io/errors.ts';

/** Letters for the bytes: printable ones stand for themselves, the others for U+0100 and on. Radford et al. 2019 (GPT-2). */
const LETTERS: readonly string[] = (() => {
  const printable = (b: number): boolean => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCodePoint(printable(b) ? b : next++));
})();

const WORD = /<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+/giu;
const END = '</w>';
const encoder = new TextEncoder();

export interface BytePairs {
  readonly vocabulary: ReadonlyMap<string, number>;
  /** Rank of a merge, by its two parts with a space between. */
  readonly ranks: ReadonlyMap<string, number>;
}

/** The lowest-ranked pair is joined everywhere, until no pair has a rank. */
function merged(symbols: readonly string[], ranks: BytePairs['ranks']): readonly string[] {
  let word = symbols;
  while (word.length > 1) {
    let [best, rank] = ['', Number.POSITIVE_INFINITY];
    for (let i = 0; i + 1 < word.length; i++) {
      const pair = `${word[i]} ${word[i + 1]}`;
      const found = ranks.get(pair) ?? Number.POSITIVE_INFINITY;
      if (found < rank) [best, rank] = [pair, found];
    }
    if (rank === Number.POSITIVE_INFINITY) return word;
    const next: string[] = [];
    for (let i = 0; i < word.length; i++) {
      const joins = i + 1 < word.length && `${word[i]} ${word[i + 1]}` === best;
      next.push(joins ? `${word[i]}${word[++i]}` : word[i]!);
    }
    word = next;
  }
  return word;
}

/** Ids of a cleaned text, without start and end. @param special ids of `<start_of_text>` and `<end_of_text>`, which a text may hold */
export function encodeBytePairs({ vocabulary, ranks }: BytePairs, text: string, special: ReadonlyMap<string, number>): readonly number[] {
  return [...text.matchAll(WORD)].flatMap(([word]) => {
    const whole = special.get(word);
    if (whole !== undefined) return [whole];
    const letters = Array.from(encoder.encode(word), (byte) => LETTERS[byte]!);
    return merged([...letters.slice(0, -1), `${letters.at(-1)}${END}`], ranks).map((symbol) => {
      const id = vocabulary.get(symbol);
      if (id === undefined)
        throw new InputError(`vocabulary: has no ${JSON.stringify(symbol)}; every byte must be in it, with and without ${END}`);
      return id;
    });
  });
}
