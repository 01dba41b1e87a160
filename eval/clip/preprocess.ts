/** @file What a network wants its images to be: size, and mean and deviation of the channels, as its files say; and the bytes of images as such numbers. */
import * as z from 'zod';
import { InputError } from '../../engine/io/errors.ts';

/** Who resizes: open_clip, or Hugging Face's processor. */
export type PreprocessFamily = 'open-clip' | 'hf';
export interface Preprocessing {
  readonly family: PreprocessFamily;
  /** Side of the square in pixels. */
  readonly size: number;
  /** What the short side becomes before the middle is cut out; `size` for most. */
  readonly shortSide: number;
  /** `shortest`: the short side becomes `shortSide` and the middle square of `size` is kept; `squash`: both sides become `size`, whatever that does to the shape. */
  readonly fit: 'shortest' | 'squash';
  readonly filter: 'bicubic' | 'bilinear' | 'lanczos' | 'nearest' | 'box';
  /** Of values 0..1, by channel. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** Radford et al. 2021, arXiv:2103.00020: the same for all sizes. */
const CLIP = { mean: [0.48145466, 0.4578275, 0.40821073], std: [0.26862954, 0.26130258, 0.27577711] } as const;
const HALF = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] } as const;
const IMAGENET = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } as const;
const DEFAULTS = { clip: CLIP, open_clip: CLIP, siglip: HALF, dinov2: IMAGENET } as const;
export type PreprocessKind = keyof typeof DEFAULTS;

/** Pillow's numbers of filters. */
const FILTERS = ['nearest', 'lanczos', 'bilinear', 'bicubic', 'box'] as const;

const channels = () => z.array(z.number()).length(3).describe('three numbers, one for each channel');
const sizeOf = () =>
  z.union([z.int().min(1), z.object({ shortest_edge: z.int().min(1) }), z.object({ height: z.int().min(1), width: z.int().min(1) })]);
const hfSchema = z.object({
  do_resize: z.boolean().default(true),
  size: sizeOf().optional(),
  resample: z.int().min(0).max(4).optional(),
  do_center_crop: z.boolean().nullable().optional(),
  crop_size: sizeOf().nullable().optional(),
  do_rescale: z.boolean().default(true),
  rescale_factor: z.number().default(1 / 255),
  do_normalize: z.boolean().default(true),
  image_mean: channels().optional(),
  image_std: channels().optional(),
});
const openClipSchema = z.object({
  size: z.union([z.int().min(1), z.array(z.int().min(1)).length(2)]).optional(),
  mean: channels().optional(),
  std: channels().optional(),
  interpolation: z.enum(['bicubic', 'bilinear', 'random']).optional(),
  resize_mode: z.enum(['shortest', 'squash']).optional(),
});

function checked<S extends z.ZodObject>(where: string, schema: S, json: unknown): z.output<S> {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const value = issue.path.reduce<unknown>((v, key) => (v as Record<PropertyKey, unknown>)?.[key], json);
  throw new InputError(`${where}: ${issue.path.join('.') || 'the file'} is ${JSON.stringify(value)?.slice(0, 80)}, which is not supported`);
}

type HfSize = z.output<ReturnType<typeof sizeOf>>;
const side = (size: HfSize): number => (typeof size === 'number' ? size : 'shortest_edge' in size ? size.shortest_edge : size.height);

/** `preprocessor_config.json`. @param size of the network's images @throws InputError for steps that no CLIP takes, and for another size */
export function hfPreprocessing(where: string, json: unknown, kind: PreprocessKind, size: number): Preprocessing {
  const o = checked(where, hfSchema, json);
  const switchedOff = (['do_resize', 'do_rescale', 'do_normalize'] as const).find((key) => !o[key]);
  if (switchedOff) throw new InputError(`${where}: ${switchedOff} is false; networks that take such images are not supported`);
  if (Math.abs(o.rescale_factor - 1 / 255) > 1e-9) throw new InputError(`${where}: rescale_factor is ${o.rescale_factor}; 1/255 expected`);
  const fit = (o.do_center_crop ?? kind !== 'siglip') && !(typeof o.size === 'object' && 'height' in o.size) ? 'shortest' : 'squash';
  const given = fit === 'shortest' ? (o.crop_size ?? o.size) : o.size;
  const cut = given === undefined ? size : side(given);
  if (cut !== size) throw new InputError(`${where}: images of ${cut} pixels, but the network takes ${size}`);
  const shortSide = fit === 'shortest' && o.size !== undefined ? side(o.size) : cut;
  if (shortSide < cut) throw new InputError(`${where}: a short side of ${shortSide} holds no square of ${cut}`);
  const { mean, std } = DEFAULTS[kind];
  return { family: 'hf', size, shortSide, fit, filter: FILTERS[o.resample ?? 3]!, mean: o.image_mean ?? mean, std: o.image_std ?? std };
}

/** `preprocess_cfg` of an `open_clip_config.json`. Errors as in `hfPreprocessing`. */
export function openClipPreprocessing(where: string, json: unknown, size: number): Preprocessing {
  const o = checked(where, openClipSchema, json);
  const given = Array.isArray(o.size) ? o.size : [o.size ?? size, o.size ?? size];
  if (given.some((s) => s !== size)) throw new InputError(`${where}: images of ${given.join('x')} pixels, but the network takes ${size}`);
  if (o.interpolation === 'random')
    throw new InputError(`${where}: interpolation is "random", which no two runs share; bicubic or bilinear expected`);
  return {
    family: 'open-clip',
    size,
    shortSide: size,
    fit: o.resize_mode ?? 'shortest',
    filter: o.interpolation ?? 'bicubic',
    mean: o.mean ?? CLIP.mean,
    std: o.std ?? CLIP.std,
  };
}

/** What a network takes whose files say nothing. */
export const defaultPreprocessing = (kind: PreprocessKind, size: number): Preprocessing =>
  kind === 'open_clip' ? openClipPreprocessing(kind, {}, size) : hfPreprocessing(kind, {}, kind, size);

/** Bytes [height, width, 3] → bytes [size, size, 3]. */
export type SquareResizer = (pixels: Uint8Array, height: number, width: number) => Uint8Array;
export interface Picture {
  /** [height, width, 3] */
  readonly pixels: Uint8Array;
  readonly height: number;
  readonly width: number;
}

/** (x/255 − mean)/std of bytes [size, size, 3], as [3, size, size] in `out` from `at` on. */
export function normaliseInto(out: Float32Array, at: number, bytes: Uint8Array, { size, mean, std }: Preprocessing): void {
  const area = size * size;
  if (bytes.length !== 3 * area)
    throw new InputError(`preprocessing: the resizer gave ${bytes.length} bytes; ${size}x${size}x3 are ${3 * area}`);
  for (let c = 0; c < 3; c++) for (let i = 0; i < area; i++) out[at + c * area + i] = (bytes[3 * i + c]! / 255 - mean[c]!) / std[c]!;
}

/** Pictures of any size as the network takes them: [n, 3, size, size]. */
export function pixelsOf(pictures: readonly Picture[], preprocessing: Preprocessing, resize: SquareResizer): Float32Array {
  const each = 3 * preprocessing.size ** 2;
  const out = new Float32Array(pictures.length * each);
  pictures.forEach(({ pixels, height, width }, i) => {
    normaliseInto(out, i * each, resize(pixels, height, width), preprocessing);
  });
  return out;
}
