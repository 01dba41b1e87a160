/** @file Feature extractors by kind, so that a worker thread can be told which one to open. */
import { InputError } from '../../engine/io/errors.ts';
import type { ExtractorSpec, PictureExtractor } from './extractor.ts';

type Open = (options: ExtractorSpec['options']) => Promise<PictureExtractor>;

const textOf = (options: ExtractorSpec['options'], name: string): string => String(options[name] ?? '');
const orNull = (options: ExtractorSpec['options'], name: string): string | null => {
  const value = options[name];
  return value === undefined || value === null ? null : String(value);
};
const resizeOf = (options: ExtractorSpec['options']): { readonly resize: string | null } => ({ resize: orNull(options, 'resize') });

/** Each opens an extractor that computes on one thread. Read when first asked for: a thread needs one of them. */
const kinds: Readonly<Record<string, Open>> = {
  classifier: async (options) =>
    (await import('./classifier-pictures.ts')).openClassifier({ data: textOf(options, 'data'), ...resizeOf(options) }),
  random: async (options) => (await import('./random.ts')).openRandom({ seed: Number(options['seed'] ?? 0), ...resizeOf(options) }),
  onnx: async (options) =>
    (await import('./onnx.ts')).openOnnx({
      path: textOf(options, 'path'),
      tap: orNull(options, 'tap'),
      scale: orNull(options, 'scale') ?? '-1..1',
      name: orNull(options, 'name'),
      ...resizeOf(options),
    }),
  tower: async (options) => (await import('./tower.ts')).openTowerPictures({ folder: textOf(options, 'folder'), ...resizeOf(options) }),
  inception: async (options) => (await import('./inception-pictures.ts')).openInceptionPictures(options),
  // A module of one's own, whose default export opens the extractor.
  module: async (options) => ((await import(textOf(options, 'url'))) as { default: Open }).default(options),
};
export const EXTRACTOR_KINDS: readonly string[] = Object.keys(kinds);

/** @throws InputError for an unknown kind, and where it cannot be opened */
export async function openExtractor({ kind, options }: ExtractorSpec): Promise<PictureExtractor> {
  if (!Object.hasOwn(kinds, kind))
    throw new InputError(`extractor: there is no kind ${JSON.stringify(kind)}; there are ${EXTRACTOR_KINDS.join(', ')}`);
  return kinds[kind]!(options);
}
