/** @file Image files in and out; the only file that knows sharp. Pixels are bytes, channels first. */
import { readFile } from 'node:fs/promises';
import sharp, { type Sharp } from 'sharp';
import { InputError } from '../engine/io/errors.ts';
import { captions, type GridOptions, layOut } from './grid.ts';
import { type Channels, narrow, type Samples, toChannels } from './pixels.ts';

export { toBytes, toFloat } from './bytes.ts';
export type { GridOptions } from './grid.ts';

// One thread per image: many small images are decoded side by side instead.
sharp.concurrency(1);

/** Endings of the image files that are read, in lower case. */
export const IMAGE_ENDINGS: readonly string[] = ['.png', '.jpg', '.jpeg', '.webp', '.gif', '.avif'];

/** The endings that `decodePicture` reads. */
export const PICTURE_ENDINGS: readonly string[] = [...IMAGE_ENDINGS, '.tif', '.tiff'];
/** Formats, as sharp calls them, behind these endings. */
const PICTURE_FORMATS: readonly string[] = ['png', 'jpeg', 'webp', 'gif', 'heif', 'tiff'];

/** A decoded image: [channels, height, width], 0..255. */
export interface Pixels {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly channels: number;
}

export interface DecodeOptions {
  /** Side of the square, in pixels. */
  readonly size: number;
  /** 1 for grey, 3 for red, green, blue. */
  readonly channels: 1 | 3;
}

/** [height, width, channels] ↔ [channels, height, width]: moves each channel's pixels together. */
function planar(interleaved: Uint8Array, channels: number): Uint8Array {
  const area = interleaved.length / channels;
  const planes = new Uint8Array(interleaved.length);
  for (let c = 0; c < channels; c++) for (let i = 0; i < area; i++) planes[c * area + i] = interleaved[i * channels + c]!;
  return planes;
}

function interleaved(planes: Uint8Array, channels: number): Uint8Array {
  return planar(planes, planes.length / channels);
}

/** Opens the first frame, upright as its EXIF entry says; whatever is transparent is laid over white. */
async function open(source: string | Uint8Array): Promise<Sharp> {
  // Read here, not in sharp, which would keep the file in its cache.
  const bytes = typeof source === 'string' ? await readFile(source) : source;
  return sharp(bytes).autoOrient().flatten({ background: '#ffffff' });
}

async function pixels(image: Sharp, channels: 1 | 3): Promise<Pixels> {
  const coloured = image.toColourspace(channels === 1 ? 'b-w' : 'srgb');
  const { data, info } = await coloured.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
  if (info.channels !== channels) throw new Error(`${info.channels} channels instead of ${channels}`);
  return { data: planar(data, channels), width: info.width, height: info.height, channels };
}

async function reading<T>(
  source: string | Uint8Array,
  read: () => Promise<T>,
  name = typeof source === 'string' ? source : `${source.length} bytes`,
  endings = IMAGE_ENDINGS,
): Promise<T> {
  try {
    return await read();
  } catch (error) {
    const why = (error as Error).message.split('\n')[0];
    throw new InputError(`image: ${name} cannot be read as an image (${why}); a complete ${endings.join(', ')} file expected`, {
      cause: error,
    });
  }
}

/**
 * Decodes a file or its bytes into a square: the short side is scaled to `size` (sharp's antialiased Lanczos kernel with 3 lobes, without
 * the coarser scaling that JPEG and WebP decoders offer), then the middle is cut out.
 * @returns [channels, size, size]
 * @throws InputError where it cannot be read
 */
export function decode(source: string | Uint8Array, options: DecodeOptions): Promise<Uint8Array> {
  const { size, channels } = options;
  return reading(source, async () => {
    const image = await open(source);
    const square = image.resize(size, size, { fit: 'cover', position: 'centre', kernel: 'lanczos3', fastShrinkOnLoad: false });
    return (await pixels(square, channels)).data;
  });
}

/**
 * Decodes a file or its bytes at its own size.
 * @throws InputError where it cannot be read
 */
export function decodeRaw(source: string | Uint8Array, channels: 1 | 3 = 3): Promise<Pixels> {
  return reading(source, async () => pixels(await open(source), channels));
}

/** A picture as evaluation takes it: [height, width, channels], 0..255. */
export interface Picture {
  readonly pixels: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly channels: Channels;
}

/** Left out, all is as Pillow's `convert("RGB")`, which pytorch-fid, clean-fid and EDM's tools call. */
export interface PictureOptions {
  /** 1 for grey (Rec. 601 luma), 3 for colour (default), 4 for colour and alpha. */
  readonly channels?: Channels;
  /** Turns the picture upright as its EXIF entry says; default false. */
  readonly orientation?: boolean;
  /** Red, green, blue that transparency is laid over; default: alpha is dropped, and the colour stored below it shows. */
  readonly background?: readonly [number, number, number];
  /** Grey of 16 bits: `clip` (default) makes everything above 255 white, which Pillow does; `high` takes the high byte, as Pillow does for 16-bit colour. */
  readonly grey16?: 'clip' | 'high';
  /** Called so in messages; default: the path. */
  readonly name?: string;
}

/** The samples of the first frame as they are stored, but for 16 bits, which become 8; and their size. */
async function nativeSamples(
  bytes: Uint8Array,
  { orientation, grey16 }: PictureOptions,
): Promise<Samples & Pick<Picture, 'width' | 'height'>> {
  // Warnings, such as of a profile that libpng does not like, are no reason to refuse what others read.
  const image = sharp(bytes, { ignoreIcc: true, failOn: 'error' });
  const { format, depth, space, hasAlpha } = await image.metadata();
  if (!PICTURE_FORMATS.includes(format)) throw new Error(`format ${format}`);
  if (depth !== 'uchar' && depth !== 'ushort') throw new Error(`samples of type ${depth}`);
  const cmyk = space === 'cmyk';
  if (orientation) image.autoOrient();
  if (cmyk) image.pipelineColourspace('cmyk').toColourspace('cmyk');
  if (depth === 'ushort') image.toColourspace(space);
  const { data, info } = await image.raw({ depth }).toBuffer({ resolveWithObject: true });
  const { width, height, channels } = info;
  if (depth === 'uchar') return { data, channels, cmyk, width, height };
  // A PNG says in byte 25 whether it is plain grey; one with a transparent level looks as if it had alpha otherwise.
  const plainGrey = space === 'grey16' && (format === 'png' ? bytes[25] === 0 : !hasAlpha);
  const wide = new Uint16Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.length));
  return { data: narrow(wide, plainGrey && grey16 !== 'high'), channels, cmyk, width, height };
}

/**
 * Decodes a file or its bytes at its own size, to the same bytes as Pillow: PNG, JPEG (also CMYK), TIFF and WebP; of AVIF and of GIF's transparent pixels the
 * colours may differ. Colour profiles and gamma entries are not applied; of several frames the first is taken.
 * @throws InputError where it cannot be read: no image, cut off, more than 268 million pixels, samples of more than 16 bits
 */
export function decodePicture(source: string | Uint8Array, options: PictureOptions = {}): Promise<Picture> {
  const { channels = 3, background, name } = options;
  const decoding = async (): Promise<Picture> => {
    const bytes = typeof source === 'string' ? await readFile(source) : source;
    const { width, height, ...samples } = await nativeSamples(bytes, options);
    const pixels = toChannels(samples, channels, background);
    return { pixels: new Uint8Array(pixels.buffer, pixels.byteOffset, pixels.length), width, height, channels };
  };
  return reading(source, decoding, name, PICTURE_ENDINGS);
}

/** PNG of [channels, height, width] bytes, with 1 or 3 channels. */
export function encodePng(data: Uint8Array, width: number, height: number, channels: number): Promise<Buffer> {
  if ((channels !== 1 && channels !== 3) || data.length !== width * height * channels) {
    throw new Error(`internal: encodePng: ${data.length} bytes are not [${channels}, ${height}, ${width}] with 1 or 3 channels`);
  }
  return sharp(interleaved(data, channels), { raw: { width, height, channels } }).png().toBuffer();
}

/**
 * PNG of images in rows and columns, enlarged by whole pixels, with a caption on the left of each row where `labels` has one.
 * @param images [n, channels, height, width] as `options.shape` says
 */
export function grid(images: Uint8Array, options: GridOptions): Promise<Buffer> {
  const sheet = layOut(images, options);
  const plain = sharp(sheet.rgb, { raw: { width: sheet.width, height: sheet.height, channels: 3 } });
  const { labels = [], background = [255, 255, 255] } = options;
  if (sheet.margin === 0) return plain.png().toBuffer();
  const svg = Buffer.from(captions(sheet, labels, background));
  return plain
    .composite([{ input: svg, left: 0, top: 0 }])
    .png()
    .toBuffer();
}
