/** @file Folders of small CLIP networks as they would be published, put together from stored files. */
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { goldenPath } from '../../../engine/testing/golden.ts';

/** The folder of stored values, or undefined where they are not there. */
export const storedClip = (): string | undefined => goldenPath('clip/scores.json') && dirname(goldenPath('clip/scores.json')!);

export const temporary = (): string => mkdtempSync(join(tmpdir(), 'clip-'));

/** Copies a network's folder and unpacks CLIP's tokenizer beside it. */
export function clipFolder(stored: string, name: string, to: string, tokenizer = ['tokenizer.json.gz', 'tokenizer_config.json']): string {
  const folder = join(to, name);
  mkdirSync(folder, { recursive: true });
  for (const file of readdirSync(join(stored, name))) copyFileSync(join(stored, name, file), join(folder, file));
  for (const file of tokenizer) {
    const bytes = readFileSync(join(stored, 'tokenizer', file));
    writeFileSync(join(folder, file.replace(/\.gz$/, '')), file.endsWith('.gz') ? gunzipSync(bytes) : bytes);
  }
  return folder;
}
