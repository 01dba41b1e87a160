/** @file Decoded samples as Pillow turns them into 8-bit pixels. Pure: samples in, bytes out; channels are innermost. */

/** 8-bit samples as the file has them: 1 grey, 2 grey and alpha, 3 colour, 4 colour and alpha; or 4 of cyan, magenta, yellow, black. */
export interface Samples {
  readonly data: Uint8Array;
  readonly channels: number;
  readonly cmyk: boolean;
}

/** Channels of a picture: grey, colour, colour and alpha. */
export type Channels = 1 | 3 | 4;

/** 16 bits to 8: the high byte, or everything above 255 clipped to 255. */
export function narrow(samples: Uint16Array, clip: boolean): Uint8Array {
  return Uint8Array.from(samples, clip ? (value) => Math.min(value, 255) : (value) => value >> 8);
}

/** a·b/255, rounded, without a division. */
function scaled(a: number, b: number): number {
  const product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

/** Ink to light without a colour profile: (1 − ink)·(1 − black). */
function cmykToRgb(cmyk: Uint8Array): Uint8Array {
  const rgb = new Uint8Array((cmyk.length / 4) * 3);
  for (let i = 0; i < cmyk.length / 4; i++) {
    const light = 255 - cmyk[4 * i + 3]!;
    for (let c = 0; c < 3; c++) rgb[3 * i + c] = light - scaled(cmyk[4 * i + c]!, light);
  }
  return rgb;
}

/** Rec. 601 luma in 16 fractional bits. */
const luma = (r: number, g: number, b: number): number => (19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16;

/**
 * The wanted channels of a picture. Alpha is dropped where it is not wanted, so that a transparent pixel shows the colour that is stored below it, unless a
 * background is given, over which it is laid; where it is wanted and not there it is 255.
 */
export function toChannels(
  { data, channels, cmyk }: Samples,
  wanted: Channels,
  background: readonly [number, number, number] | null = null,
): Uint8Array {
  if (cmyk) return toChannels({ data: cmykToRgb(data), channels: 3, cmyk: false }, wanted);
  if (channels === wanted && (channels !== 4 || !background)) return data;
  const [green, blue] = channels >= 3 ? [1, 2] : [0, 0];
  const alphaAt = channels % 2 === 0 ? channels - 1 : -1;
  const out = new Uint8Array((data.length / channels) * wanted);
  for (let from = 0, to = 0; from < data.length; from += channels, to += wanted) {
    const alpha = alphaAt < 0 ? 255 : data[from + alphaAt]!;
    const over = (value: number, c: number): number => (background ? scaled(value, alpha) + scaled(background[c]!, 255 - alpha) : value);
    const [r, g, b] = [over(data[from]!, 0), over(data[from + green]!, 1), over(data[from + blue]!, 2)];
    if (wanted === 1) {
      out[to] = luma(r, g, b);
    } else {
      out[to] = r;
      out[to + 1] = g;
      out[to + 2] = b;
      if (wanted === 4) out[to + 3] = background ? 255 : alpha;
    }
  }
  return out;
}
