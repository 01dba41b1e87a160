/** @file Images in a safetensors file, as `sample --out NAME.safetensors` writes them: `images` [n, channels, height, width], and `labels` [n]. */
import { toBytes } from '../../data/bytes.ts';
import { InputError } from '../../engine/io/errors.ts';
import { openRanges, pieces, type RangeFile } from '../../engine/io/range-file.ts';
import { openSafetensors, type SafetensorsFile, toFloat32 } from '../../engine/io/safetensors.ts';
import type { TensorInfo } from '../../engine/io/safetensors-header.ts';
import { type Container, interleave } from './container.ts';

/** Bytes of an element, for the types that images come in. */
const ELEMENT_BYTES = { U8: 1, F32: 4, F16: 2, BF16: 2 } as const;

interface Layout {
  readonly count: number;
  readonly channels: 1 | 3;
  readonly height: number;
  readonly width: number;
}

const isImageType = (dtype: string): dtype is keyof typeof ELEMENT_BYTES => Object.hasOwn(ELEMENT_BYTES, dtype);

function layoutOf({ dtype, shape }: TensorInfo, path: string): Layout {
  const [count = 0, channels = 0, height = 0, width = 0] = shape;
  if (!isImageType(dtype) || shape.length !== 4 || (channels !== 1 && channels !== 3) || height < 1 || width < 1)
    throw new InputError(
      `${path}: images are [${shape.join(', ')}] of ${dtype}; [count, 1 or 3, height, width] expected, bytes (U8) or floats from -1 to 1 (F32, F16, BF16)`,
    );
  return { count, channels, height, width };
}

async function labelsOf(file: SafetensorsFile, count: number, path: string): Promise<Float32Array | null> {
  if (!file.names.includes('labels')) return null;
  const labels = toFloat32(await file.read('labels'));
  if (labels.length !== count || !labels.every(Number.isInteger))
    throw new InputError(`${path}: labels are ${labels.length} values for ${count} images; one whole number an image expected`);
  return labels;
}

function containerOf(file: RangeFile, info: TensorInfo, dataBegin: number, layout: Layout, labels: Float32Array | null): Container {
  const { count, channels, height, width } = layout;
  const dtype = info.dtype as keyof typeof ELEMENT_BYTES;
  const each = channels * height * width * ELEMENT_BYTES[dtype];
  const pixelsOf = (bytes: Uint8Array): Uint8Array =>
    interleave(dtype === 'U8' ? bytes : toBytes(toFloat32({ dtype, shape: [channels, height, width], bytes })), channels);
  return {
    count,
    classes: null,
    async *items(from, to) {
      if (from >= Math.min(to, count)) return;
      const begin = dataBegin + info.begin;
      let i = from;
      for await (const bytes of pieces(file.stream(begin + from * each, begin + Math.min(to, count) * each), each, file.path)) {
        const pixels = pixelsOf(bytes);
        yield {
          name: `${file.path}[${i}]`,
          label: labels?.[i] ?? null,
          caption: null,
          load: async () => ({ pixels, width, height, channels }),
        };
        i++;
      }
    },
    async digest(hash) {
      for await (const chunk of file.stream(0, file.size)) hash.update(chunk);
    },
    close: () => file.close(),
  };
}

/** Bytes are taken as they are, floats from -1 to 1 become (x + 1)·127.5. @throws InputError where the file has no such tensors */
export async function openTensorImages(path: string): Promise<Container> {
  const stored = await openSafetensors(path);
  try {
    const name =
      ['images', 'samples', 'data'].find((each) => stored.names.includes(each)) ??
      (stored.names.length === 1 ? stored.names[0]! : 'images');
    const info = stored.info(name);
    const layout = layoutOf(info, path);
    const labels = await labelsOf(stored, layout.count, path);
    const file = await openRanges(path);
    const headerBytes = new DataView((await file.read(0, 8)).buffer).getBigUint64(0, true);
    return containerOf(file, info, 8 + Number(headerBytes), layout, labels);
  } finally {
    await stored.close();
  }
}
