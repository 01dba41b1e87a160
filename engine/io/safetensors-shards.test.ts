/** @file Shards with an index: read as one file, every disagreement refused; and arbitrary bytes, which never do more than be refused in one line. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { goldenPath } from '../testing/golden.ts';
import { InputError } from './errors.ts';
import { encodeSafetensors, fromFloat32, openSafetensors, parseSafetensors, writeSafetensors } from './safetensors.ts';
import { openShards, openWeightsFile, parseIndex } from './safetensors-shards.ts';

const folder = mkdtempSync(join(tmpdir(), 'shards-'));
afterAll(() => rmSync(folder, { recursive: true }));

const root = goldenPath('diffusers/safetensors/expected.json')?.replace('/expected.json', '');

describe.skipIf(!root)('stored shards', () => {
  test.each([
    ['sharded-diffusers', 'diffusion_pytorch_model'],
    ['sharded-transformers', 'model'],
  ])('%s reads as one file', async (name, stem) => {
    const file = await openWeightsFile(join(root!, name, `${stem}.safetensors.index.json`));
    const single = new Map<string, Uint8Array>();
    for (const shard of readdirSync(join(root!, name)).filter((path) => path.startsWith(`${stem}-`))) {
      const part = await openSafetensors(join(root!, name, shard));
      for (const tensor of part.names) single.set(tensor, (await part.read(tensor)).bytes);
      await part.close();
    }
    expect([...file.names].sort()).toEqual([...single.keys()].sort());
    for (const tensor of file.names) expect((await file.read(tensor)).bytes).toEqual(single.get(tensor));
    expect(single.size).toBeGreaterThan(20);
    await file.close();
  });
});

const one = fromFloat32(Float32Array.of(1), [1]);
async function written(map: Readonly<Record<string, string>>, shards: Readonly<Record<string, readonly string[]>>): Promise<string> {
  const here = mkdtempSync(join(folder, 'case-'));
  for (const [shard, names] of Object.entries(shards))
    await writeSafetensors(join(here, shard), Object.fromEntries(names.map((name) => [name, one])), { format: 'pt', shard });
  const path = join(here, 'model.safetensors.index.json');
  writeFileSync(path, JSON.stringify({ metadata: { total_size: 8 }, weight_map: map }));
  return path;
}

describe('an index', () => {
  const A = 'model-1.safetensors';
  const B = 'model-2.safetensors';
  test('names, metadata that all shards share, and unknown names', async () => {
    const file = await openShards(await written({ a: A, b: B }, { [A]: ['a'], [B]: ['b'] }));
    expect([file.names, file.metadata]).toEqual([['a', 'b'], { format: 'pt' }]);
    expect(file.info('b').shape).toEqual([1]);
    expect(() => file.info('c')).toThrow(/no tensor "c" among its 2/);
    await expect(file.read('c')).rejects.toThrow(InputError);
    await file.close();
  });
  test('what index and shards do not agree on is refused', async () => {
    await expect(openShards(await written({ a: A, b: B }, { [A]: ['a'] }))).rejects.toThrow(
      /model-2.safetensors: cannot read: no such file/,
    );
    await expect(openShards(await written({ a: A, b: A }, { [A]: ['a'] }))).rejects.toThrow(
      /"b" is said to be in model-1.safetensors, which does not hold/,
    );
    await expect(openShards(await written({ a: A }, { [A]: ['a', 'b'] }))).rejects.toThrow(
      /holds tensor "b", but the index does not name it/,
    );
    await expect(openShards(await written({ a: A, b: B }, { [A]: ['a', 'b'], [B]: ['b'] }))).rejects.toThrow(
      /the index says that it is in model-2/,
    );
  });
  test.each([
    ['', /not JSON/],
    ['[]', /weight_map is undefined/],
    ['{"weight_map":[]}', /weight_map is \[\]/],
    ['{"weight_map":{}}', /names no tensor/],
    ['{"weight_map":{"a":3}}', /tensor "a" is said to be in 3/],
    ['{"weight_map":{"a":"../a.safetensors"}}', /beside the index/],
    ['{"weight_map":{"a":"a.bin"}}', /beside the index/],
    ['{"weight_map":{"a":"a.safetensors","a":"b.safetensors"}}', /the key "a" twice/],
  ])('%s', (text, says) => {
    expect(() => parseIndex(text, 'f')).toThrow(says);
    expect(() => parseIndex(text, 'f')).toThrow(InputError);
  });
});

/** A linear congruential generator: seeded, so that a failure can be repeated. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Fragments that headers are sensitive to. */
const FRAGMENTS = [
  '{',
  '}',
  '[',
  ']',
  '"',
  ':',
  ',',
  '\\',
  '0',
  '-1',
  '1e9',
  '9007199254740993',
  'null',
  '"__metadata__":',
  '"__proto__":{',
  '\u0000',
  'F64',
  'BOOL',
];
function mutate(bytes: Uint8Array, next: (below: number) => number): Uint8Array {
  const parts = [...bytes];
  for (let count = 1 + next(3); count > 0; count--) {
    const at = next(parts.length);
    const kind = next(5);
    if (kind === 0) parts[at] = next(256);
    else if (kind === 1) parts.splice(at, 1 + next(4));
    else if (kind === 2) parts.splice(at, 0, ...new TextEncoder().encode(FRAGMENTS[next(FRAGMENTS.length)]));
    else if (kind === 3) parts.length = at;
    else parts[next(8)] = next(256);
    if (parts.length === 0) parts.push(next(256));
  }
  return Uint8Array.from(parts);
}

describe('arbitrary bytes', () => {
  const original = encodeSafetensors(
    { a: fromFloat32(Float32Array.of(1, 2), [2]), 'b.c': fromFloat32(new Float32Array(4), [2, 2], 'F16') },
    { k: 'v' },
  );
  test('100,000 mutations of a file are read or refused in one line', () => {
    const next = generator(7);
    let refused = 0;
    for (let i = 0; i < 100_000; i++) {
      const bytes = mutate(original, next);
      try {
        parseSafetensors(bytes, 'f');
      } catch (error) {
        refused++;
        if (!(error instanceof InputError) || /\n/.test(error.message) || error.message.length > 1000)
          throw new Error(`mutation ${i}: ${String(error)} for ${JSON.stringify(Buffer.from(bytes).toString('latin1'))}`);
      }
    }
    expect(refused).toBeGreaterThan(50_000);
    expect(refused).toBeLessThan(100_000); // a byte of the data may be anything
  });
  const headed = (json: string): Uint8Array => {
    const text = new TextEncoder().encode(json);
    const bytes = new Uint8Array(8 + text.length);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
    bytes.set(text, 8);
    return bytes;
  };
  test.each([
    ['lists nested a million deep', `{"a":{"dtype":"U8","shape":${'['.repeat(1e6)}${']'.repeat(1e6)},"data_offsets":[0,0]}}`],
    ['objects nested a million deep', `${'{"a":'.repeat(1e6)}1${'}'.repeat(1e6)}`],
    ['a shape of a million sizes', `{"a":{"dtype":"U8","shape":[${'1,'.repeat(1e6)}2],"data_offsets":[0,0]}}`],
    ['a name of a million characters', `{"${'x'.repeat(1e6)}":3}`],
    ['a million quotes', `{${'"'.repeat(1e6)}}`],
  ])('%s', (_, json) => {
    const start = performance.now();
    const attempt = (): unknown => parseSafetensors(headed(json), 'f');
    expect(attempt).toThrow(InputError);
    expect(performance.now() - start).toBeLessThan(3000);
    try {
      attempt();
    } catch (error) {
      expect((error as Error).message.length).toBeLessThan(1000);
    }
  });
});
