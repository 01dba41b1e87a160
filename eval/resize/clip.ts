/** @file What is done to an image before CLIP sees it, as open_clip and as Hugging Face's two image processors do it; and DMD2's crop for evaluation. */
import { InputError } from '../../engine/io/errors.ts';
import { centreCrop, type CropRounding } from './crop.ts';
import type { Geometry, Resizer, Size } from './geometry.ts';
import { type PilFilter, pilResizer } from './pil.ts';
import { torchByteResizer } from './torch.ts';

type Bytes = Resizer<Uint8Array, Uint8Array>;

/**
 * `open-clip`: open_clip's evaluation transform; `hf`: Hugging Face's processor on torchvision, its default since transformers 5; `hf-pil`: the one on Pillow.
 * `hf` lies up to 2 levels (0.03 after normalising) from the others; the two ways to crop differ where a margin is odd.
 */
export type ClipVariant = 'open-clip' | 'hf' | 'hf-pil';

const VARIANTS: Readonly<Record<ClipVariant, { readonly rounding: CropRounding; readonly resizer: (geometry: Geometry) => Bytes }>> = {
  'open-clip': { rounding: 'even', resizer: (geometry) => pilResizer({ ...geometry, filter: 'bicubic' }) },
  hf: { rounding: 'down', resizer: (geometry) => torchByteResizer({ ...geometry, mode: 'bicubic' }) },
  'hf-pil': { rounding: 'down', resizer: (geometry) => pilResizer({ ...geometry, filter: 'bicubic' }) },
};
export const CLIP_VARIANTS = Object.keys(VARIANTS) as readonly ClipVariant[];

/** Mean and deviation of each channel, 0..1, of the images that OpenAI's CLIP was trained on; Radford et al., arXiv 2103.00020, use the same for all sizes. */
export const CLIP_MEAN: readonly number[] = [0.48145466, 0.4578275, 0.40821073];
export const CLIP_STD: readonly number[] = [0.26862954, 0.26130258, 0.27577711];

export interface ClipOptions {
  readonly variant: ClipVariant;
  /** Side of the square that the network takes, such as 224. */
  readonly size: number;
  /** Size of the image; it has three channels. */
  readonly from: Size;
}

/** The short side becomes `size`; the long side is cut off to whole pixels. */
function shortestSide([height, width]: Size, size: number): Size {
  const long = Math.trunc((size * Math.max(height, width)) / Math.min(height, width));
  return height <= width ? [size, long] : [long, size];
}

/**
 * Resizes and crops: the part before normalising.
 * @returns bytes [height, width, 3] to bytes [size, size, 3]
 * @throws InputError for an unknown variant and for sizes below 1
 */
export function clipCrop({ variant, size, from }: ClipOptions): Bytes {
  if (!Object.hasOwn(VARIANTS, variant))
    throw new InputError(`clip: no variant ${JSON.stringify(variant)}; one of ${CLIP_VARIANTS.join(', ')} expected`);
  const { rounding, resizer } = VARIANTS[variant];
  const scaled = shortestSide(from, size);
  const resize = resizer({ from, to: scaled, channels: 3 });
  return (pixels) => centreCrop(resize(pixels), scaled, [size, size], 3, rounding);
}

/**
 * Everything that is done before the network: resize, crop, (x/255 − mean)/std.
 * @returns bytes [height, width, 3] to float32 [3, size, size]
 * @throws InputError as `clipCrop`
 */
export function clipPreprocess(
  options: ClipOptions & { readonly mean?: readonly number[]; readonly std?: readonly number[] },
): Resizer<Uint8Array, Float32Array> {
  const { mean = CLIP_MEAN, std = CLIP_STD } = options;
  const crop = clipCrop(options);
  const levels = [0, 1, 2].map((c) => Float32Array.from({ length: 256 }, (_, level) => (level / 255 - mean[c]!) / std[c]!));
  return (pixels) => {
    const bytes = crop(pixels);
    const area = bytes.length / 3;
    const out = new Float32Array(bytes.length);
    for (let c = 0; c < 3; c++) for (let i = 0; i < area; i++) out[c * area + i] = levels[c]![bytes[3 * i + c]!]!;
    return out;
  };
}

/**
 * The middle square, resized by Pillow: with the defaults what DMD2 (arXiv 2405.14867) does to COCO's images before its FID.
 * @returns bytes [height, width, channels] to bytes [size, size, channels]
 */
export function squareCrop(options: {
  readonly from: Size;
  readonly channels?: number;
  readonly size?: number;
  readonly filter?: PilFilter;
}): Bytes {
  const { from, channels = 3, size = 256, filter = 'lanczos' } = options;
  const side = Math.min(...from);
  const resize = pilResizer({ from: [side, side], to: [size, size], channels, filter });
  return (pixels) => resize(centreCrop(pixels, from, [side, side], channels));
}
