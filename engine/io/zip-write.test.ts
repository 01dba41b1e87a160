/** @file Written zip files are read again, by this project and by another library. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { unzipSync } from 'fflate';
import { expect, test } from 'vitest';
import { openZip } from './zip.ts';
import { writeZip } from './zip-write.ts';

test('entries of any content, an empty one and a name beyond ASCII; the same content makes the same bytes', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'zip-'));
  const entries = {
    'a.npy': Uint8Array.from({ length: 5000 }, (_, i) => (i * i) % 251),
    empty: new Uint8Array(0),
    'größe/b': new TextEncoder().encode('b'.repeat(100)),
  };
  const path = join(folder, 'a.zip');
  await writeZip(path, entries);
  const bytes = readFileSync(path);
  expect(Object.fromEntries(Object.entries(unzipSync(bytes)).map(([name, content]) => [name, [...content]]))).toEqual(
    Object.fromEntries(Object.entries(entries).map(([name, content]) => [name, [...content]])),
  );
  const zip = await openZip(path);
  for (const [name, content] of Object.entries(entries)) expect(await zip.read(name)).toEqual(content);
  await zip.close();
  await writeZip(path, entries);
  expect(readFileSync(path).equals(bytes)).toBe(true);
  rmSync(folder, { recursive: true });
});
