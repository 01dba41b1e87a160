/** @file The pixels of a side, for metrics that compare images themselves, and what they are compared by. */
import { basename } from 'node:path';
import { factsOf } from '../../engine/io/checksums.ts';
import { InputError } from '../../engine/io/errors.ts';
import { type FeatureSet, featureSet, type Metric } from '../../eval/metric.ts';
import { lpipsSettings } from '../../eval/metrics/lpips-diversity.ts';
import { ofOneSize, planar } from '../../eval/sources/index.ts';
import { type Flat, valuesOf } from '../config.ts';
import type { Compared } from './measuring.ts';
import type { ImageSide, Side } from './sides.ts';

/** Whether a metric takes nothing of a side but its images: then no features are computed for it. */
export const isOfPixels = ({ needs }: Metric): boolean =>
  needs.reference.length === 0 && needs.generated.length > 0 && needs.generated.every((need) => need === 'images');

interface Pixels {
  readonly images: NonNullable<FeatureSet['images']>;
  /** Null where not every image has one. */
  readonly labels: readonly number[] | null;
  readonly captions: readonly string[] | null;
}

/** Errors: images of several sizes, unreadable ones. */
async function pixelsOf({ source }: ImageSide): Promise<Pixels> {
  const parts: Uint8Array[] = [];
  const labels: (number | null)[] = [];
  const captions: (string | null)[] = [];
  let shape: readonly number[] = [];
  for await (const { pixels, width, height, channels, label, caption } of ofOneSize(source.images())) {
    shape = [channels, height, width];
    parts.push(planar(pixels, channels));
    labels.push(label);
    captions.push(caption);
  }
  const each = parts[0]?.length ?? 0;
  const all = new Uint8Array(parts.length * each);
  parts.forEach((part, i) => {
    all.set(part, i * each);
  });
  const whole = <T>(values: readonly (T | null)[]): readonly T[] | null => (values.includes(null) ? null : (values as readonly T[]));
  return { images: { pixels: all, shape }, labels: whole(labels), captions: whole(captions) };
}

/** Adds the images to a set where a metric takes them. @param place 0 for the generated side, 1 for the reference. @throws InputError for images of several sizes */
export async function withImages(set: FeatureSet, side: ImageSide, metrics: readonly Metric[], place: number): Promise<FeatureSet> {
  const wanted = metrics.some(({ needs }) => (place === 0 ? needs.generated : needs.reference).includes('images'));
  return wanted ? { ...set, images: (await pixelsOf(side)).images } : set;
}

/** A side as metrics see it that take images alone. Equal classes, and without classes equal captions, are one condition. Errors as in `withImages`. */
async function pixelSet(side: ImageSide): Promise<FeatureSet> {
  const { images, labels, captions } = await pixelsOf(side);
  const known = new Map<string, number>();
  const numberOf = (caption: string): number => {
    if (!known.has(caption)) known.set(caption, known.size);
    return known.get(caption)!;
  };
  const n =
    images.pixels.length /
    Math.max(
      1,
      images.shape.reduce((a, b) => a * b, 1),
    );
  const conditions = labels === null && captions !== null ? { conditions: captions.map(numberOf) } : {};
  return { ...featureSet(new Float32Array(0), 1, { name: side.name, n, labels, images, ...conditions }), features: null };
}

export interface PixelPart extends Compared {
  /** Of LPIPS: its trunk and the checksums of its weights. */
  readonly extractor: Flat;
}
const lpipsOf = (flat: Flat) => valuesOf({ where: 'lpips-diversity', schema: lpipsSettings }, flat);

/** Before anything is opened or drawn. Errors: the weights are not named, or not there. */
export async function checkLpips(flat: Flat): Promise<Flat> {
  const { lpipsWeights: files, lpipsNet } = lpipsOf(flat);
  if (files.length === 0)
    throw new InputError(
      `lpips-diversity: needs the weights of LPIPS; give the trunk's (torchvision's ${lpipsNet}) and the heads' with --lpips-weights trunk.pth,heads.pth, or one file with both`,
    );
  const sums: string[] = [];
  for (const file of files) sums.push((await factsOf(file)).sha256);
  return { name: `LPIPS 0.1 (${lpipsNet}: ${files.map((file) => basename(file)).join(', ')})`, sha256: sums.join(', '), resize: 'none' };
}

/** The generated side as metrics of images see it. Errors: features where images are needed; those of `checkLpips` and `pixelSet`. */
export async function pixelPart(generated: Side, { id }: Pick<Metric, 'id'>, flat: Flat): Promise<PixelPart> {
  if (generated.kind !== 'images')
    throw new InputError(`${id}: needs the images themselves, and ${generated.name} holds features; give images`);
  return { extractor: await checkLpips(flat), generated: await pixelSet(generated), reference: null };
}
