/** @file The FID Inception by the words of the command line: its conventions, its taps, and what it is called. */
import { InputError } from '../../engine/io/errors.ts';
import { FID_EXTRACTOR } from '../metric.ts';
import { RESIZERS } from '../resize/index.ts';
import type { ExtractorSpec, PictureExtractor } from './extractor.ts';
import { INCEPTION_TAPS, type InceptionConvention, type InceptionTap, openInception } from './inception.ts';
import { inceptionWeights } from './weights-cache.ts';

/** `--resize`: the tool whose resizing and range of values are taken. */
const CONVENTIONS: Readonly<Record<string, InceptionConvention>> = { pytorch: 'pytorch-fid', tf1: 'torch-fidelity', clean: 'clean-fid' };

interface Wanted {
  readonly weights: string | null;
  readonly acceptWeights: boolean;
  readonly tap: string | null;
  readonly resize: string | null;
}

function tapOf(tap: string | null): InceptionTap {
  const found = INCEPTION_TAPS.find((one) => String(one) === (tap ?? '2048'));
  if (found === undefined) throw new InputError(`tap: ${tap} is none of the Inception's; one of ${INCEPTION_TAPS.join(', ')} expected`);
  return found;
}

function conventionOf(resize: string | null): { readonly convention: InceptionConvention; readonly resize: string | null } {
  const name = resize ?? 'pytorch';
  const convention = CONVENTIONS[name] ?? Object.values(CONVENTIONS).find((one) => one === name);
  if (convention) return { convention, resize: null };
  if (name !== 'none' && !RESIZERS.includes(name))
    throw new InputError(
      `resize: the Inception has no rule '${name}'; ${Object.keys(CONVENTIONS).join(', ')} (the tool that does it so), none, or a resizer such as ${RESIZERS[0]} expected`,
    );
  return { convention: 'pytorch-fid', resize: name };
}

/**
 * The extractor as any thread can open it.
 * @throws InputError for weights that are missing or refused, and for unknown taps and rules
 */
export async function findInception({ weights, acceptWeights, tap, resize }: Wanted): Promise<ExtractorSpec> {
  const [chosen, rule] = [tapOf(tap), conventionOf(resize)];
  const { path } = await inceptionWeights(weights, { accept: acceptWeights });
  return { kind: 'inception', options: { weights: path, accept: acceptWeights, tap: chosen, ...rule } };
}

/** With weights that are not the published ones it has another name, unless they were accepted: then a note says so. */
export async function openInceptionPictures(options: ExtractorSpec['options']): Promise<PictureExtractor> {
  const accept = options['accept'] === true;
  const tap = Number(options['tap']) as InceptionTap;
  const network = await openInception({
    weights: String(options['weights']),
    acceptWeights: accept,
    tap,
    convention: options['convention'] as InceptionConvention,
    resize: options['resize'] === null ? null : String(options['resize']),
  });
  const named = accept && !network.published ? FID_EXTRACTOR : network.name;
  return {
    ...network,
    name: tap === 2048 ? named : `${named}, tap ${tap}`,
    ...(network.published ? {} : { note: unpublished(String(options['weights']), network.checksum) }),
  };
}

const unpublished = (path: string, sha256: string): string =>
  `weights: ${path} is not the published file (its SHA-256 begins with ${sha256.slice(0, 8)}): where it is no conversion of it, distances have nothing to do with those of others`;
