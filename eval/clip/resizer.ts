/** @file Who resizes pictures for an image tower: what its files ask for, by the library that they were written for. */
import { centreCrop, pilResizer, type Resizer, type Size, torchByteResizer } from '../resize/index.ts';
import type { Preprocessing, SquareResizer } from './preprocess.ts';

type Bytes = Resizer<Uint8Array, Uint8Array>;

/** Hugging Face resizes by torchvision, which has two filters for bytes, and by Pillow otherwise. */
function bytesResizer({ family, filter }: Preprocessing, from: Size, to: Size): Bytes {
  const geometry = { from, to, channels: 3 };
  if (family === 'hf' && (filter === 'bicubic' || filter === 'bilinear')) return torchByteResizer({ ...geometry, mode: filter });
  return pilResizer({ ...geometry, filter });
}

function resizerFrom(preprocessing: Preprocessing, from: Size): Bytes {
  const { size, shortSide, fit, family } = preprocessing;
  if (fit === 'squash') return bytesResizer(preprocessing, from, [size, size]);
  const [height, width] = from;
  const long = Math.trunc((shortSide * Math.max(height, width)) / Math.min(height, width));
  const scaled: Size = height <= width ? [shortSide, long] : [long, shortSide];
  const resize = bytesResizer(preprocessing, from, scaled);
  return (pixels) => centreCrop(resize(pixels), scaled, [size, size], 3, family === 'open-clip' ? 'even' : 'down');
}

/** Sizes whose weights are kept. */
const KEPT = 64;

/** Resizes and cuts as the network's own library does. */
export function squareResizer(preprocessing: Preprocessing): SquareResizer {
  const made = new Map<string, Bytes>();
  return (pixels, height, width) => {
    const key = `${height}x${width}`;
    const resize = made.get(key) ?? resizerFrom(preprocessing, [height, width]);
    if (made.size >= KEPT) made.clear();
    made.set(key, resize);
    return resize(pixels);
  };
}
