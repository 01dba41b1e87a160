/** @file What a data set is: image bytes in memory, channels first, in memory that worker threads share without a copy. */

/** Images in memory: bytes, channels first. */
export interface Dataset {
  readonly name: string;
  /** Number of images. */
  readonly size: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  /** [size, channels, height, width], 0..255. */
  readonly images: Uint8Array;
  /** [size], or null where images have no class. */
  readonly labels: Uint8Array | Int32Array | null;
  readonly classes: readonly string[] | null;
  /** [size], null for an image without one; absent where no image has a caption. */
  readonly captions?: readonly (string | null)[];
  /** Horizontal flips keep the meaning (photos yes, digits no). */
  readonly mayFlip: boolean;
  readonly licence: string;
  /** Unreadable files that were left out because the caller allowed it. */
  readonly skipped?: number;
}

/** Images to train on and images that training never sees. */
export interface Split {
  readonly train: Dataset;
  readonly heldOut: Dataset;
}

/** Zeroed bytes that worker threads can read and write without a copy. */
export function sharedBytes(length: number): Uint8Array {
  return new Uint8Array(new SharedArrayBuffer(length));
}

/** Bytes of one image. */
export function imageBytes(dataset: Pick<Dataset, 'channels' | 'height' | 'width'>): number {
  return dataset.channels * dataset.height * dataset.width;
}
