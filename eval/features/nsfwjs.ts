/**
 * @file The InceptionV3 of the npm package nsfwjs: a network of photographs that everybody may install, for a Fréchet distance where the weights of the FID
 * Inception are not at hand. It was trained on for another task, so that its distances are called by its name.
 */
import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { writeAtomic } from '../../engine/io/atomic.ts';
import { InputError } from '../../engine/io/errors.ts';
import { fileFailure } from '../../engine/io/failures.ts';
import { kerasToOnnx, kerasWeights, readKeras } from '../../models/foreign/keras.ts';
import type { ExtractorSpec } from './extractor.ts';

export const NSFWJS_NAME = 'nsfwjs InceptionV3';
const [PACKAGE, VERSION] = ['nsfwjs', '4.3.0'];
/** The last average pool: 2,048 features, as the FID Inception has. */
const LAYER = 'average_pooling2d_10';
/** As clean-fid resizes. */
const RESIZE = 'pil_float_bicubic';

/** The package's folder with this network, beside the user's work or beside this package; null where it is not installed. */
function packageFolder(): string | null {
  for (const from of [join(process.cwd(), 'here.js'), import.meta.url]) {
    try {
      const found = createRequire(from).resolve(`${PACKAGE}/models/inception_v3`);
      const folder = join(dirname(found), '../../models/inception_v3');
      if (existsSync(join(folder, 'model.min.js'))) return folder;
    } catch {
      // not there
    }
  }
  return null;
}

export const isNsfwjsThere = (): boolean => packageFolder() !== null;

/**
 * The extractor, converted into `cache`/networks at its first use.
 * @throws InputError where the package is not installed, is another version, or the folder cannot be written
 */
export async function findNsfwjs({ cache, resize }: { readonly cache: string; readonly resize: string | null }): Promise<ExtractorSpec> {
  const folder = packageFolder();
  if (folder === null)
    throw new InputError(
      `extractor: ${PACKAGE} is not installed; install it (npm install --no-save ${PACKAGE}@${VERSION}), or take --extractor random`,
    );
  const manifest = JSON.parse(await readFile(join(folder, '../../../package.json'), 'utf8')) as { readonly version?: unknown };
  const path = join(cache, 'networks', `nsfwjs-${String(manifest.version)}-inception-v3.onnx`);
  if (!existsSync(path)) await convert(folder, path);
  return { kind: 'onnx', options: { path, tap: LAYER, scale: '0..1', resize: resize ?? RESIZE, name: NSFWJS_NAME } };
}

async function convert(folder: string, path: string): Promise<void> {
  const require = createRequire(join(folder, 'model.min.js'));
  const where = `${PACKAGE} (${folder})`;
  const model = readKeras(where, require('./model.min.js'));
  const shards = model.weightsManifest.flatMap(({ paths }) => paths);
  const bytes = Buffer.concat(shards.map((name) => Buffer.from(String(require(`./${name}.min.js`)), 'base64')));
  const onnx = kerasToOnnx(where, model, kerasWeights(where, model, bytes), LAYER);
  await mkdir(dirname(path), { recursive: true }).catch((error: unknown) => {
    throw fileFailure('write', dirname(path), error);
  });
  await writeAtomic(path, onnx);
}
