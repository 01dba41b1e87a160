/** @file Images that are in memory already, such as samples that were just drawn. */
import { InputError } from '../../engine/io/errors.ts';
import { type Container, interleave } from './container.ts';
import { type ImageSource, sourceOf } from './source.ts';

export interface MemoryImages {
  /** [n, …shape], 0..255 */
  readonly images: Uint8Array;
  readonly n: number;
  /** [channels, height, width] */
  readonly shape: readonly [number, number, number];
  readonly labels?: ArrayLike<number> | null;
}

/** @throws InputError for a wrong number of bytes, and for images of neither one nor three channels */
export function memoryImages(name: string, { images, n, shape, labels = null }: MemoryImages): ImageSource {
  const [channels, height, width] = shape;
  const each = channels * height * width;
  if (images.length !== n * each)
    throw new InputError(`${name}: ${images.length} bytes for ${n} images of [${shape}]; ${n * each} expected`);
  if (channels !== 1 && channels !== 3) throw new InputError(`${name}: images of ${channels} channels; 1 or 3 expected`);
  const container: Container = {
    count: n,
    classes: null,
    async *items(from, to) {
      for (let i = from; i < Math.min(to, n); i++) {
        const planes = images.subarray(i * each, (i + 1) * each);
        const load = async () => ({ pixels: channels === 1 ? planes : interleave(planes, channels), width, height, channels }) as const;
        yield { name: `${name}[${i}]`, label: labels?.[i] ?? null, caption: null, load };
      }
    },
    async digest(hash) {
      hash.update(`${n} ${channels} ${height} ${width}\n`).update(images);
    },
    async close() {},
  };
  return sourceOf(name, container, {});
}
