/**
 * @file The avatar encoder that comes with the package: how well drawn avatars fit their captions. It knows nothing but such drawings, so that its
 * scores are called what they are and are never compared with those of a CLIP.
 */
import { artifactPath } from '../../data/artifacts.ts';
import { type Clip, openClip } from '../clip/clip.ts';
import { clipScore } from '../clip/score.ts';

export const AVATAR_SCORE = 'caption score (avatar encoder)';

/** Takes pixels [n,3,32,32], −1..1. @throws InputError where the installation lacks it */
export const openAvatarEncoder = (options: { readonly threads?: number } = {}): Promise<Clip> =>
  openClip(artifactPath('avatar-encoder'), options);

/** 100·max(cos, 0), mean over the pairs. Errors as in `clipScore`. */
export async function avatarScore(
  encoder: Clip,
  images: Float32Array,
  captions: readonly string[],
): Promise<{ readonly name: string; readonly value: number }> {
  const { value } = await clipScore(encoder, 'clip-score', images, captions);
  return { name: AVATAR_SCORE, value };
}
