/** @file Token numbers against Hugging Face's fast tokenizer and open_clip's, how texts are cut and padded, and what is refused. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { InputError } from '../../engine/io/errors.ts';
import { readSafetensors, toFloat32 } from '../../engine/io/safetensors.ts';
import { goldenPath } from '../../engine/testing/golden.ts';
import { unescapeHtml } from './html-unescape.ts';
import { cleanCaption } from './text-repair.ts';
import { batchOf, encodeText, hfTokenizer, openClipTokenizer, openTokenizer, type TextTokenizer, tokenBatch } from './tokenizer.ts';
import { readTokenizerFiles } from './tokenizer-files.ts';

const folder = goldenPath('clip/tokens.json') && dirname(goldenPath('clip/tokens.json')!);
const scratch = mkdtempSync(join(tmpdir(), 'tokenizer-'));
afterAll(() => rmSync(scratch, { recursive: true }));
/** A folder with unpacked copies of the stored files. */
function unpacked(name: string, files: readonly string[]): string {
  const to = mkdtempSync(join(scratch, name));
  for (const file of files) {
    const bytes = readFileSync(join(folder!, 'tokenizer', file));
    writeFileSync(join(to, file.replace(/\.gz$/, '')), file.endsWith('.gz') ? gunzipSync(bytes) : bytes);
  }
  return to;
}
interface Tokens {
  readonly captions: readonly { readonly caption: string; readonly hf: readonly number[]; readonly open_clip: readonly number[] }[];
}

describe.skipIf(!folder)("CLIP's vocabulary", async () => {
  const { captions } = folder ? (JSON.parse(readFileSync(join(folder, 'tokens.json'), 'utf8')) as Tokens) : { captions: [] };
  const forms = { 'tokenizer.json': ['tokenizer.json.gz'], 'vocab.json and merges.txt': ['vocab.json.gz', 'merges.txt.gz'] };
  const opened = async (form: keyof typeof forms): Promise<TextTokenizer> =>
    openTokenizer(unpacked('hf', [...forms[form], 'tokenizer_config.json']));
  const rows = async (name: string): Promise<readonly number[]> => {
    const { tensors } = await readSafetensors(join(folder!, 'tokens.safetensors'));
    return Array.from(toFloat32(tensors.get(name)!));
  };

  test.each(Object.keys(forms) as (keyof typeof forms)[])('%s: ids of all captions are the fast tokenizer’s', async (form) => {
    const tokenizer = await opened(form);
    for (const { caption, hf } of captions) expect([caption, encodeText(tokenizer, caption)]).toEqual([caption, hf]);
    const { ids, mask, tooLong } = tokenBatch(
      tokenizer,
      captions.map((c) => c.caption),
    );
    expect(Array.from(ids, Number)).toEqual(await rows('hf.input_ids'));
    expect(Array.from(mask, Number)).toEqual(await rows('hf.attention_mask'));
    expect(tooLong).toEqual(captions.map((c) => c.hf.length > 77));
    expect(tooLong.filter(Boolean).length).toBe(2);
  });
  test('ids of all captions are open_clip’s', async () => {
    const tokenizer = openClipTokenizer(await readTokenizerFiles(unpacked('oc', ['tokenizer.json.gz'])));
    for (const { caption, open_clip } of captions) expect([caption, encodeText(tokenizer, caption)]).toEqual([caption, open_clip]);
    const { ids } = tokenBatch(
      tokenizer,
      captions.map((c) => c.caption),
    );
    expect(Array.from(ids, Number)).toEqual(await rows('open_clip.tokens'));
  });
  test('a plain cut leaves the end off', async () => {
    const tokenizer = await opened('tokenizer.json');
    const [long] = captions.filter((c) => c.hf.length > 77);
    const { ids } = tokenBatch(tokenizer, [long!.caption], { cut: 'plain' });
    expect(Array.from(ids, Number)).toEqual(long!.hf.slice(0, 77));
  });
});

const cut = goldenPath('diffusers/pipelines/stable-diffusion/tokenizer-golden.json');
test.skipIf(!cut)('a cut vocabulary in vocab.json and merges.txt, as pipelines have it', async () => {
  const facts = JSON.parse(readFileSync(cut!, 'utf8')) as {
    readonly cases: readonly { readonly text: string; readonly ids: readonly number[]; readonly without_special: readonly number[] }[];
  };
  const tokenizer = await openTokenizer(join(dirname(cut!), 'tokenizer'));
  for (const { text, ids, without_special } of facts.cases) {
    expect([text, tokenizer.words(text)]).toEqual([text, without_special]);
    const row = Array.from(tokenBatch(tokenizer, [text], { length: 77 }).ids, Number);
    expect([text, row.slice(0, row.indexOf(1113) + 1)]).toEqual([text, ids]);
  }
});

test.skipIf(!cut)('padding that is a word, and special tokens in capitals, as the second tokenizer of SDXL has them', async () => {
  const to = mkdtempSync(join(scratch, 'xl'));
  for (const file of ['vocab.json', 'merges.txt']) copyFileSync(join(dirname(cut!), 'tokenizer', file), join(to, file));
  const token = (content: string, normalized: boolean) => ({
    content,
    normalized,
    lstrip: false,
    rstrip: false,
    single_word: false,
    special: true,
  });
  const config = {
    added_tokens_decoder: { 0: token('!', false), 1112: token('<|startoftext|>', true), 1113: token('<|endoftext|>', true) },
    ...{ bos_token: '<|startoftext|>', eos_token: '<|endoftext|>', unk_token: '<|endoftext|>', pad_token: '!', model_max_length: 77 },
  };
  writeFileSync(join(to, 'tokenizer_config.json'), JSON.stringify(config));
  const tokenizer = await openTokenizer(to);
  // transformers 5.23.0: CLIPTokenizer of the same files, padded to 10.
  const row = (text: string): readonly number[] => Array.from(tokenBatch(tokenizer, [text], { length: 10 }).ids, Number);
  expect(row('hello<|ENDOFTEXT|> x')).toEqual([1112, 71, 826, 334, 1113, 343, 1113, 0, 0, 0]);
  expect(row('  ! the! ')).toEqual([1112, 0, 518, 0, 1113, 0, 0, 0, 0, 0]);
});

const unigram = dirname(goldenPath('transformers/t5-tokenizer/ids.json')!);
test("a unigram model with T5's normalisation", async () => {
  const to = mkdtempSync(join(scratch, 't5'));
  const pipeline = JSON.parse(readFileSync(join(unigram, 'tokenizer.json'), 'utf8'));
  pipeline.normalizer.precompiled_charsmap = brotliDecompressSync(readFileSync(join(unigram, 'charsmap.br'))).toString('base64');
  writeFileSync(join(to, 'tokenizer.json'), JSON.stringify(pipeline));
  copyFileSync(join(unigram, 'tokenizer_config.json'), join(to, 'tokenizer_config.json'));
  const tokenizer = await openTokenizer(to);
  const { cases } = JSON.parse(readFileSync(join(unigram, 'ids.json'), 'utf8')) as {
    readonly cases: readonly { readonly text: string; readonly ids: readonly number[] }[];
  };
  for (const { text, ids } of cases) expect([text, encodeText(tokenizer, text)]).toEqual([text, ids]);
  expect([tokenizer.limit, tokenizer.pad, tokenizer.start, tokenizer.end]).toEqual([Number.POSITIVE_INFINITY, 0, [], [1]]);
});

describe('cutting and padding', () => {
  const tokenizer: TextTokenizer = { limit: 5, pad: 9, start: [1], end: [2], words: (text) => Array.from(text, Number) };
  test('a text keeps its end, padding follows, and what was cut is said', () => {
    const { ids, mask, tooLong, length } = batchOf(tokenizer, [[3], [3, 4, 5], [3, 4, 5, 6]]);
    expect([Array.from(ids, Number), Array.from(mask, Number), tooLong, length]).toEqual([
      [1, 3, 2, 9, 9, 1, 3, 4, 5, 2, 1, 3, 4, 5, 2],
      [1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
      [false, false, true],
      5,
    ]);
  });
  test('no length, or none that holds start and end, is refused', () => {
    expect(() => tokenBatch({ ...tokenizer, limit: Number.POSITIVE_INFINITY }, ['3'])).toThrow('a length from 2 on is needed');
    expect(() => tokenBatch(tokenizer, ['3'], { length: 1 })).toThrow(InputError);
  });
});

describe('files that are no tokenizer', () => {
  const withFiles = (files: Readonly<Record<string, string>>): string => {
    const to = mkdtempSync(join(scratch, 'bad'));
    for (const [name, text] of Object.entries(files)) writeFileSync(join(to, name), text);
    return to;
  };
  test.each([
    [{}, 'no tokenizer in it; tokenizer.json, or vocab.json and merges.txt expected'],
    [{ 'tokenizer.json': '{' }, 'tokenizer.json: not JSON'],
    [{ 'tokenizer.json': '[]' }, 'tokenizer.json: the configuration is []'],
    [{ 'tokenizer.json': '{"model": {"type": "Rune"}}' }, 'tokenizer.json: no tokenizer can be made of it'],
    [{ 'vocab.json': '{"a": "b"}', 'merges.txt': '' }, 'vocab.json: must be an object of tokens and their numbers'],
    [{ 'vocab.json': '{"a": 1}', 'merges.txt': '#version: 0.2\na b c\n' }, 'merges.txt: merge 1 is "a b c"; it must be two parts'],
    [{ 'vocab.json': '{"a": 1}', 'merges.txt': 'a b\n' }, 'the vocabulary has no "<|endoftext|>", the start or end of a text'],
  ])('%j', async (files, message) => {
    const opening = openTokenizer(withFiles(files));
    await expect(opening).rejects.toThrow(InputError);
    await expect(opening).rejects.toThrow(message);
  });
  test('padding on the left', () => {
    const files = { pipeline: {}, config: { padding_side: 'left' }, where: 't' };
    expect(() => hfTokenizer(files)).toThrow('t: padding_side is "left"; only right is supported');
  });
});

describe('cleaning', () => {
  test.each([
    [
      '&amp;amp; &notit; &notin; &#x80; &#0; &#x110000; &#55296; &#1; &lt &ampx &unknown; &',
      '&amp; ¬it; ∉ € \ufffd \ufffd \ufffd  < &x &unknown; &',
    ],
    ['&NotEqualTilde; &copy&eacute', '≂̸ ©é'],
  ])('references of %s', (text, clear) => {
    expect(unescapeHtml(text)).toBe(clear); // Python 3.11: html.unescape
  });
  test.each([
    ['schön Ã¼ber', 'schön über'],
    ['ÐŸÑ€Ð¸Ð²ÐµÑ‚', 'привет'],
    ['It\u0092s', "it's"],
    ['ﬃ ŉ ｱｲ', "ffi 'n アイ"],
    ['\u001b[31mred\u001b[0m', 'red'],
    ['A\u001cB\u0085C\r\nD', 'ab…c d'],
    ['Â© 2020 cafÃ©, naïve', '© 2020 café, naïve'],
    ['â€œhiâ€\u009d', '"hi"'],
    ['ðŸ˜€ ok ’', "😀 ok '"],
    ['\ud800x', '\ufffdx'],
    ['Ångström Égalité É', 'ångström égalité é'],
    ['a <b> &amp; c', 'a <b> & c'],
  ])('%j', (text, clean) => {
    expect(cleanCaption(text)).toBe(clean); // open_clip 3.3.0 with ftfy 6.3.1
  });
});
