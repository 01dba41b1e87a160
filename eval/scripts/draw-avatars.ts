/** @file Draws avatars of DiceBear's pixel art (designs CC0 1.0), and says which are held out of training. */
import { createAvatar } from '@dicebear/core';
import * as pixelArt from '@dicebear/pixel-art';
import { decodeRaw } from '../../data/image.ts';
import { sha256 } from '../../engine/io/atomic.ts';
import { type DrawnOptions, traitsOf } from '../avatars/captions.ts';

export const AVATAR_SIZE = 32;
export interface Drawing {
  readonly options: DrawnOptions;
  /** [3, 32, 32], −1..1, on white. */
  readonly pixels: Float32Array;
}

/** The same seed gives the same drawing. */
export async function drawAvatar(seed: string): Promise<Drawing> {
  const avatar = createAvatar(pixelArt, { seed, size: AVATAR_SIZE });
  const { data } = await decodeRaw(Buffer.from(avatar.toString()));
  return { options: avatar.toJson().extra, pixels: Float32Array.from(data, (v) => v / 127.5 - 1) };
}

/** By what is shown, not by seed: drawings that have one caption lie on one side. One in ten is held out. */
export const isHeldOut = ({ options }: Drawing): boolean => Number.parseInt(sha256(traitsOf(options).join()).slice(0, 8), 16) % 10 === 0;
