/**
 * @file Where the FID Inception's weights are: named by the user, by an environment variable, or in a folder where they are usually kept. They are never
 * downloaded; where they are missing, the message says where they come from.
 */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { factsOf } from '../../engine/io/checksums.ts';
import { InputError } from '../../engine/io/errors.ts';

/** Environment variable with the path of the weights. */
export const INCEPTION_VARIABLE = 'ONESTEP_INCEPTION_WEIGHTS';
/** The published files and their origin. Their names end with the beginning of their SHA-256. */
export const INCEPTION_FILES = [
  {
    file: 'pt_inception-2015-12-05-6726825d.pth',
    origin: 'https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth',
  },
  {
    file: 'weights-inception-2015-12-05-6726825d.pth',
    origin: 'https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth',
  },
] as const;
/** How the SHA-256 of both begins. */
const PUBLISHED = '6726825d';

/** Weights on this machine. */
export interface FoundWeights {
  readonly path: string;
  readonly sha256: string;
  /** Whether they are the published ones, byte for byte. */
  readonly published: boolean;
}

/** Folders that are looked through: ours, and PyTorch's, where pytorch-fid and torch-fidelity keep the file that they download. */
export function weightsFolders(environment: NodeJS.ProcessEnv = process.env): readonly string[] {
  const caches = environment['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  const ours = environment['ONESTEP_CACHE'] || join(caches, 'onestep');
  return [join(ours, 'weights'), join(environment['TORCH_HOME'] || join(caches, 'torch'), 'hub', 'checkpoints')];
}

/** The path of the weights: `given`, else `$ONESTEP_INCEPTION_WEIGHTS`, else a published file in `weightsFolders`; null where there are none. */
export function findInceptionWeights(given: string | null = null, environment: NodeJS.ProcessEnv = process.env): string | null {
  if (given !== null) return given;
  const named = environment[INCEPTION_VARIABLE];
  if (named) return named;
  const paths = weightsFolders(environment).flatMap((folder) => INCEPTION_FILES.map(({ file }) => join(folder, file)));
  return paths.find((path) => existsSync(path)) ?? null;
}

/**
 * Finds the weights and sums them. A file with a published name must have its sum, unless `accept`; files of other names (a conversion, say) are told
 * from the published ones by `published`.
 * @throws InputError where there are none, with the address of their origin; where the file cannot be read; and for another sum
 */
export async function inceptionWeights(
  given: string | null = null,
  { accept = false, environment = process.env }: { readonly accept?: boolean; readonly environment?: NodeJS.ProcessEnv } = {},
): Promise<FoundWeights> {
  const path = findInceptionWeights(given, environment);
  if (path === null) {
    const [{ file, origin }] = INCEPTION_FILES;
    throw new InputError(
      `weights: the FID Inception's are neither given (--weights), nor named by $${INCEPTION_VARIABLE}, nor in ${weightsFolders(environment).join(' or ')}; get ${file} from ${origin}`,
    );
  }
  const { sha256 } = await factsOf(path);
  const published = sha256.startsWith(PUBLISHED);
  const claims = INCEPTION_FILES.some(({ file }) => file === basename(path)) || basename(path).includes(PUBLISHED);
  if (claims && !published && !accept)
    throw new InputError(
      `${path}: its SHA-256 begins with ${sha256.slice(0, 8)}, that of the published file with ${PUBLISHED}; get it again from ${INCEPTION_FILES[0].origin}, or go on with --accept-weights`,
    );
  return { path, sha256, published };
}
