/** @file Scores from CLIP features, in the conventions that papers quote; they differ in factor, clamp, prompt and tokens, and are never compared across networks. */
import { InputError } from '../../engine/io/errors.ts';
import type { Clip, TextOptions } from './clip.ts';

/** Cosine of each pair of rows of two matrices [n, dimensions]. @throws InputError for matrices of different sizes */
export function pairCosines(a: Float32Array, b: Float32Array, dimensions: number): Float64Array {
  if (a.length !== b.length || a.length % dimensions !== 0)
    throw new InputError(`cosines: ${a.length} and ${b.length} values are not two matrices of the same rows of ${dimensions}`);
  return Float64Array.from({ length: a.length / dimensions }, (_, row) => {
    let [dot, aa, bb] = [0, 0, 0];
    for (let i = row * dimensions; i < (row + 1) * dimensions; i++) {
      dot += a[i]! * b[i]!;
      aa += a[i]! ** 2;
      bb += b[i]! ** 2;
    }
    return dot / Math.sqrt(aa * bb);
  });
}

const mean = (values: Float64Array): number => values.reduce((sum, v) => sum + v, 0) / values.length;

export interface ScoreConvention {
  /** What it computes, in a line. */
  readonly meaning: string;
  readonly text: TextOptions;
  readonly score: (cosines: Float64Array) => number;
}
const PROMPT = 'A photo depicts';
export const CLIP_SCORES = {
  'clip-score': {
    meaning: '100·max(cos, 0), mean over the pairs; captions cut to the context',
    text: {},
    score: (cos) => mean(cos.map((c) => 100 * Math.max(c, 0))),
  },
  torchmetrics: {
    meaning: 'max(mean of 100·cos, 0); longer captions lose their end token (torchmetrics’ CLIPScore)',
    text: { tokens: 'hf', cut: 'plain' },
    score: (cos) => Math.max(100 * mean(cos), 0),
  },
  'clip-s': {
    meaning: '2.5·max(cos, 0), mean over the pairs, captions led by “A photo depicts” (Hessel et al. 2021, arXiv:2104.08718)',
    text: { tokens: 'open-clip', prefix: PROMPT },
    score: (cos) => 2.5 * mean(cos.map((c) => Math.max(c, 0))),
  },
  dmd2: {
    meaning: 'mean cosine, captions led by the tokens of “A photo depicts” (DMD2, arXiv:2405.14867)',
    text: { tokens: 'open-clip', prefix: PROMPT },
    score: mean,
  },
  cosine: { meaning: 'mean cosine; captions cut to the context', text: {}, score: mean },
} as const satisfies Readonly<Record<string, ScoreConvention>>;
export type ClipScoreName = keyof typeof CLIP_SCORES;
export const CLIP_SCORE_NAMES = Object.keys(CLIP_SCORES) as readonly ClipScoreName[];

export interface ClipScore {
  readonly name: ClipScoreName;
  readonly value: number;
  readonly pairs: number;
  /** Captions of which something was cut off. */
  readonly tooLong: number;
  /** Of each pair. */
  readonly cosines: Float64Array;
}

/**
 * The score of pictures and their captions, pair by pair.
 * @param images features [n, dimensions] of the same network
 * @param text what differs from the convention, such as another prefix or none (`prefix: ''`)
 * @throws InputError where there are no pairs, or not as many captions as images
 */
export async function clipScore(
  clip: Clip,
  name: ClipScoreName,
  images: Float32Array,
  captions: readonly string[],
  text: TextOptions = {},
): Promise<ClipScore> {
  if (captions.length === 0 || images.length !== captions.length * clip.dimensions)
    throw new InputError(
      `clip score: ${captions.length} captions for ${images.length / clip.dimensions} images; as many of both are needed`,
    );
  const { text: usual, score }: ScoreConvention = CLIP_SCORES[name];
  const { features, tooLong } = await clip.textFeatures(captions, { ...usual, ...text });
  const cosines = pairCosines(images, features, clip.dimensions);
  return { name, value: score(cosines), pairs: captions.length, tooLong: tooLong.filter(Boolean).length, cosines };
}

/** Mean cosine of pictures, pair by pair: how much two sets, such as a teacher's and a student's of the same noise, show the same. */
export const imageSimilarity = (a: Float32Array, b: Float32Array, dimensions: number): number => mean(pairCosines(a, b, dimensions));
