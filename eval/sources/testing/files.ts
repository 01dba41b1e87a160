/** @file Small containers of images for tests, and ways to damage them. */
import { pack } from 'tar-stream';
import { encodePng } from '../../../data/image.ts';
import { philox4x32 } from '../../../engine/random/philox.ts';

/** Pixels [height, width, 3] of image i, each different. */
export const pixelsOf = (i: number, height = 2, width = 3): Uint8Array =>
  Uint8Array.from({ length: height * width * 3 }, (_, at) => (i * 40 + at * 5) % 256);

/** A PNG file of pixels [height, width, 3]. */
export function png(pixels: Uint8Array, height = 2, width = 3): Promise<Uint8Array> {
  const area = height * width;
  return encodePng(
    Uint8Array.from(pixels, (_, at) => pixels[(at % area) * 3 + Math.floor(at / area)]!),
    width,
    height,
    3,
  );
}

/** A tar archive of files by name. */
export async function tar(files: Readonly<Record<string, Uint8Array | string>>): Promise<Uint8Array> {
  const archive = pack();
  for (const [name, body] of Object.entries(files)) archive.entry({ name }, typeof body === 'string' ? body : Buffer.from(body));
  archive.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of archive) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
}

/** Changes some bytes, or cuts the end off, or takes a piece out, or puts one in: a function of the seed. */
export function damaged(bytes: Uint8Array, seed: number): Uint8Array {
  const [kind, where, how, size] = philox4x32([seed, 0, 0, 0], [7, 7]);
  const at = bytes.length === 0 ? 0 : where % bytes.length;
  const length = 1 + (size % 64);
  if (kind % 8 === 0) return bytes.slice(0, at);
  if (kind % 8 === 1) return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
  if (kind % 8 === 2) return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at, at + length), bytes.subarray(at)]);
  const out = Uint8Array.from(bytes);
  // Ends are where tables stand: half of the changes go to the last or first bytes.
  const place = kind % 8 < 5 ? at : kind % 8 < 7 ? bytes.length - 1 - (at % 80) : at % 160;
  const interesting = [0, 1, 0x7f, 0x80, 0xff, how & 255];
  for (let i = 0; i < 1 + (how % 4); i++)
    if (place + i >= 0 && place + i < out.length) out[place + i] = interesting[((how >> (3 * i)) % 6) & 7] ?? 0;
  return out;
}
