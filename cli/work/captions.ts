/** @file Numbers under pictures, in a font of 3 by 5 pixels: drawn as bytes, they need no font of the system and stay sharp when a sheet is enlarged. */

/** Rows of three bits from the top. */
const GLYPHS: Readonly<Record<string, readonly [number, number, number, number, number]>> = {
  '0': [7, 5, 5, 5, 7],
  '1': [2, 6, 2, 2, 7],
  '2': [7, 1, 7, 4, 7],
  '3': [7, 1, 7, 1, 7],
  '4': [5, 5, 7, 1, 1],
  '5': [7, 4, 7, 1, 7],
  '6': [7, 4, 7, 5, 7],
  '7': [7, 1, 1, 1, 1],
  '8': [7, 5, 7, 5, 7],
  '9': [7, 5, 7, 1, 7],
  '.': [0, 0, 0, 0, 2],
  '-': [0, 0, 7, 0, 0],
  '+': [0, 2, 7, 2, 0],
  e: [0, 7, 7, 4, 7],
};
const [WIDE, HIGH, GAP] = [3, 5, 1];
type Shape = readonly [channels: number, height: number, width: number];

/** A noise level in at most seven letters. */
export const levelText = (sigma: number): string => String(Number(sigma.toPrecision(sigma >= 1 ? 3 : 2)));

const textWidth = (text: string): number => text.length * (WIDE + GAP) - GAP;

/** The shape of a picture with any of the captions under it. */
export const captionedShape = ([channels, height, width]: Shape, captions: readonly string[]): Shape => [
  channels,
  height + HIGH + 2 * GAP,
  Math.max(width, ...captions.map(textWidth)),
];

/**
 * A picture with a caption under it, both in the middle, black on white.
 * @param image bytes [channels, height, width]; null for an empty place
 * @param to the shape that `captionedShape` gives; every letter of the caption is a digit or one of . - + e
 */
export function captioned(image: Uint8Array | null, [channels, height, width]: Shape, caption: string, to: Shape): Uint8Array {
  const [, high, wide] = to;
  const out = new Uint8Array(channels * high * wide).fill(255);
  const left = Math.floor((wide - width) / 2);
  for (let row = 0; image && row < channels * height; row++) {
    const [c, y] = [Math.floor(row / height), row % height];
    out.set(image.subarray(row * width, (row + 1) * width), (c * high + y) * wide + left);
  }
  const begin = Math.floor((wide - textWidth(caption)) / 2);
  [...caption].forEach((letter, i) => {
    GLYPHS[letter]!.forEach((bits, y) => {
      for (let x = 0; x < WIDE; x++)
        if (bits & (4 >> x))
          for (let c = 0; c < channels; c++) out[(c * high + height + GAP + y) * wide + begin + i * (WIDE + GAP) + x] = 0;
    });
  });
  return out;
}
