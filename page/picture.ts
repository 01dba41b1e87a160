/** @file Samples as pictures: one canvas each, and all of them in one PNG. */
import { toBytes } from '../data/bytes.ts';

/** Pixels of a sample as a browser wants them. @param sample [channels, height, width] in [-1, 1], with 1 or 3 channels */
export function pixels(sample: Float32Array, [channels, height, width]: readonly [number, number, number]): ImageData {
  const bytes = toBytes(sample);
  const area = width * height;
  const image = new ImageData(width, height);
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = bytes[(channels === 3 ? c : 0) * area + i]!;
    image.data[4 * i + 3] = 255;
  }
  return image;
}

/** Room between the samples of a sheet, in pixels. */
const GAP = 2;

/** A PNG of all canvases in rows, at their own size. Only the samples: no text, no enlargement. */
export function sheetOf(pictures: readonly HTMLCanvasElement[], columns: number): Promise<Blob> {
  const [{ width, height }] = pictures as [HTMLCanvasElement];
  const sheet = document.createElement('canvas');
  sheet.width = Math.min(columns, pictures.length) * (width + GAP) - GAP;
  sheet.height = Math.ceil(pictures.length / columns) * (height + GAP) - GAP;
  const context = sheet.getContext('2d')!;
  context.fillStyle = '#fff';
  context.fillRect(0, 0, sheet.width, sheet.height);
  pictures.forEach((picture, i) => {
    context.drawImage(picture, (i % columns) * (width + GAP), Math.floor(i / columns) * (height + GAP));
  });
  return new Promise((resolve, reject) => {
    sheet.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('this browser cannot write a PNG of that size'))), 'image/png');
  });
}

/** A row of canvases, one for each sample; those that were there are used again. */
export function showSamples(
  grid: HTMLElement,
  {
    first,
    images,
    shape,
    name,
  }: {
    readonly first: number;
    readonly images: Float32Array;
    readonly shape: readonly [number, number, number];
    readonly name: (i: number) => string;
  },
): void {
  const [channels, height, width] = shape;
  const size = channels * height * width;
  for (let i = 0; i < images.length / size; i++) {
    const canvas = (grid.children[first + i] as HTMLCanvasElement | undefined) ?? grid.appendChild(document.createElement('canvas'));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', name(first + i));
    canvas.title = name(first + i);
    canvas.getContext('2d')!.putImageData(pixels(images.subarray(i * size, (i + 1) * size), shape), 0, 0);
  }
}
