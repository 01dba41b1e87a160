/** @file All ways of resizing by name, as configurations and reports write them. */
import { InputError } from '../../engine/io/errors.ts';
import { didYouMean } from '../../engine/io/nearest.ts';
import type { Geometry, Resizer } from './geometry.ts';
import { PIL_FILTERS, pilFloatResizer, pilResizer } from './pil.ts';
import { tf1Resizer } from './tf1.ts';
import { TORCH_MODES, torchByteResizer, torchResizer } from './torch.ts';

export {
  CLIP_MEAN,
  CLIP_STD,
  CLIP_VARIANTS,
  type ClipOptions,
  type ClipVariant,
  clipCrop,
  clipPreprocess,
  squareCrop,
} from './clip.ts';
export { type CropRounding, centreCrop } from './crop.ts';
export type { Geometry, Resizer, Size } from './geometry.ts';
export { PIL_FILTERS, type PilFilter, pilFloatResizer, pilResizer } from './pil.ts';
export { tf1Resizer } from './tf1.ts';
export { TORCH_MODES, type TorchMode, torchByteResizer, torchResizer } from './torch.ts';

/** Makes a resizer of bytes [height, width, channels]; the result is bytes or float32, 0..255 but for overshoot that is not clipped. */
export type ResizerMaker = (geometry: Geometry) => Resizer<Uint8Array, Uint8Array | Float32Array>;

const ANTIALIASED = ['bilinear', 'bicubic'] as const;
const MAKERS: ReadonlyMap<string, ResizerMaker> = new Map([
  ...PIL_FILTERS.map((filter): [string, ResizerMaker] => [`pil_uint8_${filter}`, (g) => pilResizer({ ...g, filter })]),
  ...PIL_FILTERS.map((filter): [string, ResizerMaker] => [`pil_float_${filter}`, (g) => pilFloatResizer({ ...g, filter })]),
  ...TORCH_MODES.map((mode): [string, ResizerMaker] => [`torch_${mode}`, (g) => torchResizer({ ...g, mode })]),
  ...ANTIALIASED.flatMap((mode): [string, ResizerMaker][] => [
    [`torch_${mode}_antialias`, (g) => torchResizer({ ...g, mode, antialias: true })],
    [`torch_uint8_${mode}_antialias`, (g) => torchByteResizer({ ...g, mode })],
  ]),
  ['tf1_bilinear', tf1Resizer],
]);

/** `pil_uint8_bicubic`, `pil_float_bicubic` (clean-fid), `torch_bilinear_antialias`, `tf1_bilinear` (torch-fidelity), … */
export const RESIZERS: readonly string[] = [...MAKERS.keys()];

/** @throws InputError for an unknown name and for sizes below 1 */
export function resizerNamed(name: string, geometry: Geometry): Resizer<Uint8Array, Uint8Array | Float32Array> {
  const make = MAKERS.get(name);
  if (!make)
    throw new InputError(`resize: no resizer ${JSON.stringify(name)}${didYouMean(name, RESIZERS)}; one of ${RESIZERS.join(', ')} expected`);
  return make(geometry);
}
