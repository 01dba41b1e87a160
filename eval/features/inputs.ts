/** @file Pictures of any size as a network takes them: resized by a rule, scaled, channels first. */
import type { Picture } from '../../data/image.ts';
import { InputError } from '../../engine/io/errors.ts';
import { didYouMean } from '../../engine/io/nearest.ts';
import { RESIZERS, type Resizer, resizerNamed } from '../resize/index.ts';
import type { Prepared } from './extractor.ts';

/** Pictures are taken as they are. */
export const AS_THEY_ARE = 'none';

interface Scale {
  /** Of values 0..1, by channel. */
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
}
const even = (mean: number, std: number): Scale => ({ mean: [mean, mean, mean], std: [std, std, std] });
/** What networks want values of pixels to be: (x/255 − mean)/std. */
export const SCALES = {
  '-1..1': even(0.5, 0.5),
  '0..1': even(0, 1),
  '0..255': even(0, 1 / 255),
  imagenet: { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
  clip: { mean: [0.48145466, 0.4578275, 0.40821073], std: [0.26862954, 0.26130258, 0.27577711] },
} as const satisfies Readonly<Record<string, Scale>>;
export type ScaleName = keyof typeof SCALES;

export interface InputRule {
  readonly channels: 1 | 3;
  /** Side of the square that the network takes; null for any size. */
  readonly side: number | null;
  /** A name of `RESIZERS`, `none`, or for a network of any size NAME:SIDE. */
  readonly resize: string;
  readonly scale: ScaleName;
}

/** Sizes whose weights are kept: more would be a set of pictures of all sizes. */
const KEPT = 64;

/** The name of a rule and the side that it gives. @throws InputError for an unknown one, and where it must not or must give a side */
export function ruleOf(resize: string, side: number | null): { readonly name: string; readonly side: number | null } {
  if (resize === AS_THEY_ARE) return { name: resize, side };
  const [name = '', given] = resize.split(':');
  if (!RESIZERS.includes(name))
    throw new InputError(
      `resize: there is no rule '${name}'${didYouMean(name, RESIZERS)}; ${AS_THEY_ARE} or one of ${RESIZERS.join(', ')} expected`,
    );
  const wanted = given === undefined ? side : Number(given);
  if (wanted === null) throw new InputError(`resize: ${resize} does not say to which size; ${name}:SIDE expected, such as ${name}:224`);
  if (!Number.isInteger(wanted) || wanted < 1)
    throw new InputError(`resize: ${resize} has no side of whole pixels; ${name}:SIDE expected, such as ${name}:224`);
  if (side !== null && wanted !== side) throw new InputError(`resize: ${resize} gives ${wanted} pixels; the network takes ${side}`);
  return { name, side: wanted };
}

/** Prepares pictures of any size and mixture of sizes. Errors as in `ruleOf`; those of the result are for pictures of the wrong size. */
export function preparer({ channels, side: wanted, resize, scale }: InputRule): (picture: Picture) => Prepared {
  const { name, side } = ruleOf(resize, wanted);
  const levels = levelsOf(scale, channels);
  const resizers = new Map<string, Resizer<Uint8Array, Uint8Array | Float32Array>>();
  const resizerOf = ({ height, width }: Picture): Resizer<Uint8Array, Uint8Array | Float32Array> => {
    const key = `${height}x${width}`;
    const found = resizers.get(key) ?? resizerNamed(name, { from: [height, width], to: [side!, side!], channels });
    if (resizers.size >= KEPT) resizers.clear();
    resizers.set(key, found);
    return found;
  };
  return (picture) => {
    const { height, width, pixels } = picture;
    const fits = side === null || (height === side && width === side);
    if (name === AS_THEY_ARE && !fits)
      throw new InputError(
        `is ${height}x${width}, and the network takes ${side}x${side}; give a rule with --resize, such as pil_uint8_lanczos`,
      );
    const resized = name === AS_THEY_ARE ? pixels : resizerOf(picture)(pixels);
    const shape = name === AS_THEY_ARE ? ([channels, height, width] as const) : ([channels, side!, side!] as const);
    return { values: scaled(resized, channels, levels), shape };
  };
}

/** By channel: the value of each byte, and for what is no byte x/divisor − offset. */
interface Levels {
  readonly table: Float32Array;
  readonly divisor: number;
  readonly offset: number;
}

function levelsOf(scale: ScaleName, channels: number): readonly Levels[] {
  const { mean, std }: Scale = SCALES[scale];
  return Array.from({ length: channels }, (_, c) => {
    const [divisor, offset] = [255 * std[c]!, mean[c]! / std[c]!];
    return { table: Float32Array.from({ length: 256 }, (__, level) => level / divisor - offset), divisor, offset };
  });
}

/** [height, width, channels] → [channels, height, width] */
function scaled(pixels: Uint8Array | Float32Array, channels: number, levels: readonly Levels[]): Float32Array {
  const area = pixels.length / channels;
  const out = new Float32Array(pixels.length);
  const bytes = pixels instanceof Uint8Array;
  for (let c = 0; c < channels; c++) {
    const { table, divisor, offset } = levels[c]!;
    for (let i = 0, at = c; i < area; i++, at += channels) out[c * area + i] = bytes ? table[pixels[at]!]! : pixels[at]! / divisor - offset;
  }
  return out;
}
