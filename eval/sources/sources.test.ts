/** @file Tests of image sources: what each container gives, ranges, fingerprints, and mistakes in one line. */
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { zipSync } from 'fflate';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { beforeAll, describe, expect, test } from 'vitest';
import { toFloat } from '../../data/bytes.ts';
import { tempFolder } from '../../data/testing/temp.ts';
import { InputError } from '../../engine/io/errors.ts';
import { encodeNpy } from '../../engine/io/npy.ts';
import { fromBigInt64, fromFloat32, writeSafetensors } from '../../engine/io/safetensors.ts';
import { type ImageSource, ofOneSize, openImages, planar, type SourceImage, type SourceOptions } from './index.ts';
import { pixelsOf, png, tar } from './testing/files.ts';

const root = tempFolder();
const written = (name: string, bytes: Uint8Array | string): string => {
  const path = join(root, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
  return path;
};
const collect = async (source: Pick<ImageSource, 'images'>): Promise<SourceImage[]> => {
  const all: SourceImage[] = [];
  for await (const image of source.images()) all.push(image);
  return all;
};
async function using<T>(spec: string, options: SourceOptions, act: (source: ImageSource) => Promise<T>): Promise<T> {
  const source = await openImages(spec, options);
  try {
    return await act(source);
  } finally {
    await source.close();
  }
}
const read = (spec: string, options: SourceOptions = {}): Promise<SourceImage[]> => using(spec, options, collect);

const N = 11;
const CAPTIONS = Array.from({ length: N }, (_, i) => (i === 3 ? 'a "third" one, ünïcode' : `picture ${i}`));
const labelOf = (i: number): number => (i * 3) % 5;
const stacked = Uint8Array.from(Array.from({ length: N }, (_, i) => [...pixelsOf(i)]).flat());
const labels = BigInt64Array.from({ length: N }, (_, i) => BigInt(labelOf(i)));
const number = (i: number): string => String(i).padStart(6, '0');

/** The same eleven images in every container. */
const SPECS: Readonly<
  Record<string, { readonly path: string; readonly labels: boolean; readonly captions: boolean; readonly count: number | null }>
> = {
  'a folder': { path: join(root, 'folder'), labels: true, captions: true, count: N },
  npz: { path: join(root, 'a.npz'), labels: true, captions: false, count: N },
  'compressed npz': { path: join(root, 'b.npz'), labels: true, captions: false, count: N },
  npy: { path: join(root, 'a.npy'), labels: false, captions: false, count: N },
  zip: { path: join(root, 'a.zip'), labels: true, captions: true, count: N },
  "zip of EDM's tools": { path: join(root, 'edm.zip'), labels: true, captions: false, count: N },
  tar: { path: join(root, 'a.tar'), labels: true, captions: true, count: N },
  'tar.gz': { path: join(root, 'a.tar.gz'), labels: true, captions: true, count: null },
  parquet: { path: join(root, 'a.parquet'), labels: true, captions: true, count: N },
  'parts in a folder': { path: join(root, 'parts'), labels: true, captions: true, count: N },
  'floats in safetensors': { path: join(root, 'f.safetensors'), labels: true, captions: false, count: N },
  'bytes in safetensors': { path: join(root, 'b.safetensors'), labels: true, captions: false, count: N },
};

const huggingface = JSON.stringify({ info: { features: { label: { names: ['a', 'b', 'c', 'd', 'e'], _type: 'ClassLabel' } } } });
/** As the hub writes them: a struct of bytes and path, small row groups. */
function parquet(pngs: readonly Uint8Array[], from: number, to: number): Uint8Array {
  const range = Array.from({ length: to - from }, (_, i) => from + i);
  return new Uint8Array(
    parquetWriteBuffer({
      columnData: [
        { name: 'image', data: range.map((i) => ({ bytes: pngs[i]!, path: `${i}.png` })) },
        { name: 'label', data: range.map((i) => BigInt(labelOf(i))) },
        { name: 'text', data: range.map((i) => CAPTIONS[i]!) },
      ],
      schema: [
        { name: 'root', num_children: 3 },
        { name: 'image', num_children: 2, repetition_type: 'OPTIONAL' },
        { name: 'bytes', type: 'BYTE_ARRAY', repetition_type: 'OPTIONAL' },
        { name: 'path', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
        { name: 'label', type: 'INT64', repetition_type: 'OPTIONAL' },
        { name: 'text', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
      ],
      rowGroupSize: 4,
      kvMetadata: [{ key: 'huggingface', value: huggingface }],
    }),
  );
}

beforeAll(async () => {
  const pngs = await Promise.all(Array.from({ length: N }, (_, i) => png(pixelsOf(i))));
  pngs.forEach((bytes, i) => {
    written(`folder/${number(i)}-${labelOf(i)}.png`, bytes);
    written(`folder/${number(i)}-${labelOf(i)}.txt`, `${CAPTIONS[i]}\n`);
  });
  const arrays = {
    'arr_0.npy': encodeNpy({ shape: [N, 2, 3, 3], data: stacked }),
    'arr_1.npy': encodeNpy({ shape: [N], data: labels }),
  };
  written('a.npz', zipSync(arrays, { level: 0 }));
  written('b.npz', zipSync(arrays, { level: 9 }));
  written('a.npy', arrays['arr_0.npy']);
  const text = (words: string): Uint8Array => new TextEncoder().encode(words);
  const named = pngs.flatMap((bytes, i): [string, Uint8Array][] => [
    [`some/${number(i)}-${labelOf(i)}.png`, bytes],
    [`some/${number(i)}-${labelOf(i)}.txt`, text(CAPTIONS[i]!)],
  ]);
  // One image beside the folder, so that names say the class.
  const loose = named.map(([name, bytes]): [string, Uint8Array] => [name.replace('some/000000', '000000'), bytes]);
  written('a.zip', zipSync(Object.fromEntries([['__MACOSX/._x.png', text('x')], ...loose.toReversed()])));
  const edm = pngs.map((bytes, i): [string, Uint8Array] => [`00000/img${number(i)}.png`, bytes]);
  const listed = { labels: edm.map(([name], i) => [name, labelOf(i)]) };
  written('edm.zip', zipSync({ ...Object.fromEntries(edm), 'dataset.json': text(JSON.stringify(listed)) }, { level: 0 }));
  const samples = pngs.flatMap((bytes, i): [string, Uint8Array | string][] => [
    [`./${number(i)}.png`, bytes],
    [`./${number(i)}.cls`, `${labelOf(i)}`],
    // Captions in files of both kinds.
    i % 2 === 0 ? [`./${number(i)}.txt`, CAPTIONS[i]!] : [`./${number(i)}.json`, JSON.stringify({ caption: CAPTIONS[i], label: 77 })],
  ]);
  const archive = await tar(Object.fromEntries(samples));
  written('a.tar', archive);
  written('a.tar.gz', gzipSync(archive));
  written('a.parquet', parquet(pngs, 0, N));
  written('parts/train-00000-of-00002.parquet', parquet(pngs, 0, 6));
  written('parts/train-00001-of-00002.parquet', parquet(pngs, 6, N));
  const planes = Uint8Array.from(Array.from({ length: N }, (_, i) => [...planar(pixelsOf(i), 3)]).flat());
  const tensors = { labels: fromBigInt64(labels, [N]) };
  await writeSafetensors(join(root, 'f.safetensors'), { ...tensors, images: fromFloat32(toFloat(planes), [N, 3, 2, 3]) });
  await writeSafetensors(join(root, 'b.safetensors'), { ...tensors, images: { dtype: 'U8', shape: [N, 3, 2, 3], bytes: planes } });
});

describe.each(Object.entries(SPECS))('%s', (_, { path, labels: labelled, captions, count }) => {
  const expected = (i: number) => ({
    pixels: pixelsOf(i),
    width: 3,
    height: 2,
    channels: 3,
    label: labelled ? labelOf(i) : null,
    caption: captions ? CAPTIONS[i] : null,
  });
  const all = Array.from({ length: N }, (_, i) => i);

  test('gives all images in order, with what is said of them', () =>
    using(path, {}, async (source) => {
      expect(source.count).toBe(count);
      const images = await collect(source);
      expect(images.map(({ name, ...rest }) => rest)).toEqual(all.map(expected));
      expect(new Set(images.map(({ name }) => name)).size).toBe(N);
      expect(images.every(({ name }) => name.startsWith(path))).toBe(true);
      expect(await collect(source)).toEqual(images); // again from the beginning
    }));

  test('gives any range, and ranges of ranges, side by side', () =>
    using(path, {}, async (source) => {
      const ranges = [
        [0, 4],
        [4, 4],
        [3, 9],
        [9, N],
        [10, 40],
        [40, 50],
      ] as const;
      const parts = await Promise.all(ranges.map(([from, to]) => collect(source.slice(from, to))));
      expect(parts.map((part) => part.map(({ pixels }) => pixels))).toEqual(
        ranges.map(([from, to]) => all.slice(from, to).map((i) => pixelsOf(i))),
      );
      expect((await collect(source.slice(2, 9).slice(1, 3))).map(({ label }) => label)).toEqual([3, 4].map((i) => expected(i).label));
      if (count !== null) expect(source.slice(3, 40).count).toBe(N - 3);
      expect(() => source.slice(4, 3)).toThrow(InputError);
    }));

  test('a caller may stop early', () =>
    using(path, {}, async (source) => {
      for await (const image of source.images()) {
        expect(image.pixels).toEqual(pixelsOf(0));
        break;
      }
    }));

  test('the fingerprint tells contents, ranges and options apart', () =>
    using(path, {}, async (source) => {
      const own = await source.fingerprint();
      expect(own).toMatch(/^[0-9a-f]{64}$/);
      expect(await using(path, {}, (again) => again.fingerprint())).toBe(own);
      expect(await using(path, { channels: 1 }, (grey) => grey.fingerprint())).not.toBe(own);
      expect(await source.slice(0, 3).fingerprint()).not.toBe(own);
    }));

  test('grey is 0.299 red + 0.587 green + 0.114 blue', async () => {
    const [first] = await read(path, { channels: 1 });
    const [r, g, b] = pixelsOf(0) as unknown as [number, number, number];
    expect(first).toMatchObject({ channels: 1 });
    expect(first!.pixels.length).toBe(6);
    expect(first!.pixels[0]).toBe(Math.round(0.299 * r + 0.587 * g + 0.114 * b));
  });
});

describe('labels and captions', () => {
  test('class names of parquet and of folders', async () => {
    expect(await using(SPECS['parquet']!.path, {}, async ({ classes }) => classes)).toEqual(['a', 'b', 'c', 'd', 'e']);
    for (const [place, from] of [
      ['dog/x-3.png', 0],
      ['cat/deep/y.png', 1],
      ['cat/a.png', 2],
    ] as const)
      written(`classes/${place}`, await png(pixelsOf(from)));
    const { classes, images } = await using(join(root, 'classes'), {}, async (source) => ({
      classes: source.classes,
      images: await collect(source),
    }));
    expect(classes).toEqual(['cat', 'dog']);
    expect(images.map(({ label }) => label)).toEqual([0, 0, 1]);
    expect(images.map(({ caption }) => caption)).toEqual([null, null, null]);
  });

  test('a counter in a name is no class, and some names with one are none', async () => {
    for (const name of ['img-0001.png', 'img-0002.png']) written(`counted/${name}`, await png(pixelsOf(0)));
    for (const name of ['a-1.png', 'b.png']) written(`some/${name}`, await png(pixelsOf(0)));
    for (const folder of ['counted', 'some']) expect((await read(join(root, folder))).map(({ label }) => label)).toEqual([null, null]);
  });

  test('columns by name', async () => {
    const path = written(
      'named.parquet',
      new Uint8Array(
        parquetWriteBuffer({
          columnData: [
            { name: 'photo', data: [await png(pixelsOf(5))], type: 'BYTE_ARRAY' },
            { name: 'text', data: ['wrong'], type: 'STRING' },
            { name: 'said', data: ['right'], type: 'STRING' },
            { name: 'kind', data: [4], type: 'INT32' },
          ],
        }),
      ),
    );
    const [image] = await read(path, { columns: { image: 'photo', caption: 'said', label: 'kind' } });
    expect(image).toMatchObject({ label: 4, caption: 'right', pixels: pixelsOf(5) });
    await expect(openImages(path)).rejects.toThrow(
      `${path}: has no column of images, {bytes, path} or bytes; there are photo, text, said, kind`,
    );
    await expect(openImages(path, { columns: { image: 'foto' } })).rejects.toThrow(
      'has no column "foto"; there are photo, text, said, kind',
    );
  });
});

describe('data sets', () => {
  test('a part is chosen by #, in the order of the data set, channels innermost', async () => {
    const [train, test] = await Promise.all(
      ['digits#train', 'digits#test'].map((spec) =>
        using(spec, { channels: 1 }, async (source) => ({ source, first: await collect(source.slice(0, 2)) })),
      ),
    );
    expect(train!.source.count! + test!.source.count!).toBeGreaterThan(1000);
    expect(train!.first[0]).toMatchObject({ channels: 1, caption: null });
    expect(train!.first[0]!.label).not.toBeNull();
    expect(train!.first[0]!.pixels).not.toEqual(test!.first[0]!.pixels);
    const [colour] = await using('digits#heldout', {}, (source) => collect(source.slice(0, 1)));
    expect([...colour!.pixels]).toEqual([...test!.first[0]!.pixels].flatMap((v) => [v, v, v]));
  });
  test.each([
    ['digits', 'images: digits names no part; digits#train or digits#test'],
    ['digits#tset', 'images: digits has no part "tset"; digits#train or digits#test'],
    ['digit#test', 'images: digit#test is neither a file nor a folder nor a data set (did you mean digits?)'],
  ])('%s', async (spec, words) => {
    const failure = openImages(spec);
    await expect(failure).rejects.toBeInstanceOf(InputError);
    await expect(failure).rejects.toThrow(words);
  });
});

describe('unreadable images', () => {
  beforeAll(async () => {
    for (const i of [0, 1, 2]) written(`broken/${i}.png`, await png(pixelsOf(i)));
    copyFileSync(join(root, 'broken/0.png'), join(root, 'broken/3.png'));
    writeFileSync(join(root, 'broken/1.png'), (await png(pixelsOf(1))).subarray(0, 60));
    symlinkSync(join(root, 'nowhere.png'), join(root, 'broken/4.png'));
  });
  test('stop with the name of the file', async () => {
    await expect(read(join(root, 'broken'))).rejects.toThrow(
      /^image: .*broken\/1\.png cannot be read as an image \([^\n]*\); a complete [^\n]*$/,
    );
  });
  test('are counted where the caller allows it', () =>
    using(join(root, 'broken'), { skipBad: true }, async (source) => {
      expect((await collect(source)).map(({ name }) => name.slice(-5))).toEqual(['0.png', '2.png', '3.png']);
      expect([source.count, source.skipped()]).toEqual([5, 2]);
    }));
});

describe('of one size', () => {
  test('names the first two that differ', async () => {
    written('sizes/a.png', await png(pixelsOf(0)));
    written('sizes/b.png', await png(pixelsOf(1)));
    written('sizes/c.png', await png(pixelsOf(1, 5, 4), 5, 4));
    const folder = join(root, 'sizes');
    const seen = await using(folder, {}, async (source) => {
      const names: string[] = [];
      const going = async (): Promise<void> => {
        for await (const { name } of ofOneSize(source.images())) names.push(name);
      };
      await expect(going()).rejects.toThrow(`images: of several sizes: ${folder}/a.png is 3x2, ${folder}/c.png is 4x5; one size expected`);
      return names.length;
    });
    expect(seen).toBe(2);
  });
});

describe('mistakes are one line', () => {
  const npy = (shape: readonly number[], data: Uint8Array | Float32Array): Uint8Array => encodeNpy({ shape, data });
  const bad: Readonly<Record<string, Uint8Array>> = {
    'float.npy': npy([1, 2, 2, 3], new Float32Array(12)),
    'flat.npy': npy([12], new Uint8Array(12)),
    'planes.npy': npy([2, 3, 4, 5], new Uint8Array(120)),
    'short.npy': npy([2, 2, 2, 3], new Uint8Array(24)).subarray(0, 140),
    'none.npy': npy([0, 2, 2, 3], new Uint8Array(0)),
    'other.npz': zipSync({ 'mu.npy': npy([3], new Float32Array(3)) }),
    'labels.npz': zipSync({ 'arr_0.npy': npy([2, 1, 1, 1], new Uint8Array(2)), 'arr_1.npy': npy([3], new Uint8Array(3)) }),
    'text.parquet': new TextEncoder().encode('this is no parquet file'),
    'text.tar': new TextEncoder().encode('this is no tar file'),
    'text.tar.gz': new TextEncoder().encode('this is no gzip file'),
  };
  test.each([
    ['float.npy', 'has shape (1, 2, 2, 3) of <f4; (count, height, width, 1 or 3) of |u1, bytes 0 to 255, expected'],
    ['flat.npy', 'has shape (12) of |u1'],
    ['planes.npy', 'has shape (2, 3, 4, 5) of |u1'],
    ['short.npy', 'takes 24 bytes, but 12 follow the header'],
    ['none.npy', 'holds none; at least one image expected'],
    ['other.npz', 'has no array arr_0 or images or samples or x; found mu.npy'],
    ['labels.npz', 'arr_1.npy: has shape (3) of |u1; 2 whole numbers, one label an image, expected'],
    ['text.parquet', 'cannot be read as a parquet file ('],
    ['text.tar', 'no tar header at byte 0'],
    ['text.tar.gz', 'cannot be unpacked (incorrect header check); a complete gzip file expected'],
  ])('%s', async (name, words) => {
    const failure = read(written(name, bad[name]!));
    await expect(failure).rejects.toBeInstanceOf(InputError);
    await expect(failure).rejects.toThrow(words);
    await expect(failure).rejects.not.toThrow(/\n/);
  });

  test('folders, endings and archives without images', async () => {
    mkdirSync(join(root, 'void'));
    await expect(openImages(join(root, 'void'))).rejects.toThrow(
      `images: ${join(root, 'void')} has none; files that end in .png, .jpg, .jpeg, .webp, .gif, .avif, .tif, .tiff, or folders of them, expected`,
    );
    await expect(openImages(written('notes.pdf', 'x'))).rejects.toThrow("notes.pdf ends in '.pdf'; one of <folder>, <file>.npz");
    await expect(openImages(join(root, 'absent.npz'))).rejects.toThrow('absent.npz is neither a file nor a folder nor a data set; one of');
    await expect(openImages(`${join(root, 'folder')}#test`)).rejects.toThrow("has no parts; leave '#test' out");
    const empty = await tar({ 'a.txt': 'text' });
    await expect(read(written('empty.tar', empty))).rejects.toThrow('empty.tar has none; files that end in .png');
    await expect(read(written('empty.tgz', gzipSync(empty)))).rejects.toThrow('empty.tgz has none; files that end in .png');
    written('both/a.tar', empty);
    written('both/b.png', '');
    await expect(openImages(join(root, 'both'))).rejects.toThrow('both holds .tar and images; a folder of one kind expected');
    const sample = { 'a.png': await png(pixelsOf(0)), 'a.cls': 'cat' };
    await expect(read(written('cls.tar', await tar(sample)))).rejects.toThrow('cls.tar: a.cls holds "cat"; a whole number expected');
    await expect(read(written('json.tar', await tar({ ...sample, 'a.cls': '1', 'a.json': '{' })))).rejects.toThrow(
      'json.tar: a.json: is no JSON (',
    );
  });

  test('one image file is a source of one', async () => {
    expect((await read(join(root, `folder/${number(0)}-0.png`))).map(({ label }) => label)).toEqual([0]);
  });
});
