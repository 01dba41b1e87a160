/** @file The data: drawn avatars with their captions and the values of their attributes, stored once as one file. */
import { readSafetensors, writeSafetensors } from '../../engine/io/safetensors.ts';
import { ATTRIBUTES, type Attribute, attributesOf, captionOf } from '../../eval/avatars/captions.ts';
import { drawAvatar, isHeldOut } from '../../eval/scripts/draw-avatars.ts';

export const SIZE = 32;
export const PIXELS = 3 * SIZE * SIZE;
export const NAMES = Object.keys(ATTRIBUTES) as readonly Attribute[];
export const valuesOf = (name: Attribute): readonly string[] => ATTRIBUTES[name];

export interface Drawings {
  readonly n: number;
  /** [n, 3, 32, 32] */
  readonly images: Uint8Array;
  /** [n, attributes]: which of its values each attribute has. */
  readonly values: Uint8Array;
  /** In the first order of the traits. */
  readonly captions: readonly string[];
}
/** Combinations of attributes that are held out are never trained on. */
export interface Split {
  readonly train: Drawings;
  readonly heldOut: Drawings;
}

interface Drawn {
  readonly pixels: Uint8Array;
  readonly values: readonly number[];
  readonly caption: string;
}
function joined(list: readonly Drawn[]): Drawings {
  const images = new Uint8Array(list.length * PIXELS);
  list.forEach(({ pixels }, i) => {
    images.set(pixels, i * PIXELS);
  });
  return { n: list.length, images, values: Uint8Array.from(list.flatMap((d) => d.values)), captions: list.map((d) => d.caption) };
}

/** Draws avatars of the seeds 0 to `count`, some 70 a second. */
export async function draw(count: number, say: (line: string) => void = () => {}): Promise<Split> {
  const [train, heldOut]: [Drawn[], Drawn[]] = [[], []];
  for (let i = 0; i < count; i++) {
    const drawing = await drawAvatar(String(i));
    const attributes = attributesOf(drawing.options);
    (isHeldOut(drawing) ? heldOut : train).push({
      pixels: Uint8Array.from(drawing.pixels, (v) => Math.round((v + 1) * 127.5)),
      values: NAMES.map((name) => valuesOf(name).indexOf(attributes[name])),
      caption: captionOf(drawing.options),
    });
    if (i % 4000 === 3999) say(`${i + 1} of ${count} avatars drawn`);
  }
  return { train: joined(train), heldOut: joined(heldOut) };
}

const PARTS = ['train', 'heldOut'] as const;

export async function saveDrawings(path: string, split: Split): Promise<void> {
  const tensors = PARTS.flatMap((part) => {
    const { n, images, values } = split[part];
    return [
      [`${part}.images`, { dtype: 'U8', shape: [n, 3, SIZE, SIZE], bytes: images }],
      [`${part}.values`, { dtype: 'U8', shape: [n, NAMES.length], bytes: values }],
    ] as const;
  });
  const captions = Object.fromEntries(PARTS.map((part) => [part, split[part].captions.join('\n')]));
  await writeSafetensors(path, tensors, captions);
}

export async function readDrawings(path: string): Promise<Split> {
  const { tensors, metadata } = await readSafetensors(path);
  const part = (name: (typeof PARTS)[number]): Drawings => {
    const [images, values] = [tensors.get(`${name}.images`)!, tensors.get(`${name}.values`)!];
    return { n: images.shape[0]!, images: images.bytes, values: values.bytes, captions: (metadata[name] ?? '').split('\n') };
  };
  return { train: part('train'), heldOut: part('heldOut') };
}

/** Chosen images as floats in −1…1. */
export function floats({ images }: Drawings, indices: ArrayLike<number>): Float32Array {
  const out = new Float32Array(indices.length * PIXELS);
  for (let i = 0; i < indices.length; i++)
    for (let p = 0; p < PIXELS; p++) out[i * PIXELS + p] = images[indices[i]! * PIXELS + p]! / 127.5 - 1;
  return out;
}
