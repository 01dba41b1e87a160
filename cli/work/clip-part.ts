/** @file What a CLIP says of either side: its features of the images, and of the captions that belong to them. */
import { artifactPath } from '../../data/artifacts.ts';
import { InputError } from '../../engine/io/errors.ts';
import { AVATAR_SCORE } from '../../eval/avatars/encoder.ts';
import { openClip } from '../../eval/clip/clip.ts';
import { CLIP_SCORES, type ScoreConvention } from '../../eval/clip/score.ts';
import type { ExtractorSpec } from '../../eval/features/extractor.ts';
import type { FeatureSet, Metric } from '../../eval/metric.ts';
import { clipScoreSettings } from '../../eval/metrics/clip-score.ts';
import type { ExtractedSet } from '../../eval/pool.ts';
import { readCaptions } from '../../eval/sources/index.ts';
import { type Flat, valuesOf } from '../config.ts';
import { asFeatureSet, type Extracting, extractorJson } from './extracting.ts';
import type { Compared, Figure } from './measuring.ts';
import { measureGroup } from './side-options.ts';
import type { ImageSide, Side } from './sides.ts';

/** The encoder of captioned avatars that comes with the package. */
export const AVATARS = 'avatar-encoder';

export interface ClipPart extends Compared {
  readonly extractor: Flat;
  readonly notes: readonly string[];
  /** The figure under the name that it may bear. */
  named(figure: Figure): Figure;
}

/** Whether a metric is of CLIP's features: it takes captions, or bears the name; CMMD where a CLIP was given. */
export const isOfClip = ({ id, needs }: Metric, flat: Flat): boolean =>
  needs.generated.includes('pairs') || id === 'clip-image-similarity' || (id === 'cmmd' && valuesOf(measureGroup, flat).clip !== '');

/** What figures of the encoder of avatars are called: it is no CLIP. */
const OF_AVATARS: Readonly<Record<string, Pick<Figure, 'id' | 'label'>>> = {
  'clip-score': { id: 'caption-score', label: AVATAR_SCORE },
  'clip-image-similarity': { id: 'image-similarity', label: 'image similarity (avatar encoder)' },
  cmmd: { id: 'mmd', label: 'MMD (avatar encoder)' },
};

/** Errors: no CLIP was given. */
export function checkClip({ id }: Metric, flat: Flat): void {
  if (valuesOf(measureGroup, flat).clip === '')
    throw new InputError(`${id}: needs a CLIP; give its folder with --clip, or ${AVATARS} for drawn avatars`);
}

interface Sides {
  readonly generated: Side;
  readonly reference: Side | null;
  readonly extracting: Extracting;
}

/** @throws InputError without a CLIP, for sides that are no images, and where captions are missing or of another number */
export async function clipPart({ generated, reference, extracting }: Sides, flat: Flat, metrics: readonly Metric[]): Promise<ClipPart> {
  const { clip } = valuesOf(measureGroup, flat);
  const { id } = metrics[0]!;
  const folder = clip === AVATARS ? artifactPath(AVATARS) : clip;
  const spec: ExtractorSpec = { kind: 'tower', options: { folder, resize: null } };
  const facts = await extracting.pool.describe(spec);
  const wantsText = metrics.some(({ needs }) => needs.generated.includes('pairs'));
  // Read before the images are: a wrong number of captions should not wait for them.
  const given = wantsText ? await givenCaptions(flat, imagesOf(id, generated)) : null;
  const [own, set] = await sideOf(id, generated, extracting, spec);
  const compared = reference && metrics.some(({ needs }) => needs.reference.length > 0) ? reference : null;
  const [other] = compared ? await sideOf(id, compared, extracting, spec) : [null];
  const text = wantsText ? await textFeatures(folder, captionsOf(id, given, set), flat) : null;
  return {
    generated: text ? { ...own, pairs: text.features } : own,
    reference: other,
    extractor: extractorJson(facts),
    notes:
      text && text.tooLong > 0 ? [`${id}: ${text.tooLong} captions are longer than the network reads; their ends count for nothing`] : [],
    named: (figure) => (clip === AVATARS ? { ...figure, ...OF_AVATARS[figure.id] } : figure),
  };
}

function imagesOf(id: string, side: Side): ImageSide {
  if (side.kind === 'images') return side;
  throw new InputError(`${id}: needs the images themselves, and ${side.name} holds features; give images`);
}

async function sideOf(id: string, side: Side, { extract }: Extracting, spec: ExtractorSpec): Promise<readonly [FeatureSet, ExtractedSet]> {
  const images = imagesOf(id, side);
  const set = await extract(images, spec);
  return [asFeatureSet(side.name, set), set];
}

/** Captions of a file, as many as there are images. */
async function givenCaptions(flat: Flat, { source }: ImageSide): Promise<readonly string[] | null> {
  const { captions } = valuesOf(measureGroup, flat);
  return captions === '' ? null : readCaptions(captions, source.count);
}

/** Of the images that were kept. */
function captionsOf(id: string, given: readonly string[] | null, { captions, n, places, left }: ExtractedSet): readonly string[] {
  const found = given ? places.map((place) => given[place] ?? '') : captions;
  if (!found)
    throw new InputError(`${id}: not every image has a caption beside it; give captions with --captions, one for each of ${n} images`);
  if (given && given.length !== n + left.length)
    throw new InputError(`${id}: ${given.length} captions for ${n + left.length} images; one for each is needed`);
  return found;
}

/** Captions as the convention wants them: its prompt, its way to cut. */
async function textFeatures(folder: string, captions: readonly string[], flat: Flat) {
  const { clipConvention } = valuesOf({ where: 'clip-score', schema: clipScoreSettings }, flat);
  const { text }: ScoreConvention = CLIP_SCORES[clipConvention];
  const clip = await openClip(folder);
  try {
    const { features, tooLong } = await clip.textFeatures(captions, text);
    return { features, tooLong: tooLong.filter(Boolean).length };
  } finally {
    await clip.close();
  }
}
