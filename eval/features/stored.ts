/** @file Features and statistics that a file holds: tensors of .safetensors, arrays of .npy and .npz. */
import { existsSync, statSync } from 'node:fs';
import { InputError } from '../../engine/io/errors.ts';
import { didYouMean } from '../../engine/io/nearest.ts';
import { NPY_HEADER_BYTES, type NpyArray, npyHeader, parseNpy, readNpy } from '../../engine/io/npy.ts';
import {
  fromBigInt64,
  fromFloat32,
  fromFloat64,
  openSafetensors,
  type SafetensorsFile,
  type StoredTensor,
  toFloat32,
  toFloat64,
  writeSafetensors,
} from '../../engine/io/safetensors.ts';
import { openZip, type ZipFile } from '../../engine/io/zip.ts';
import { type ExtractorIdentity, type FeatureSet, featureSet } from '../metric.ts';
import type { Features } from '../moments.ts';
import { identityOf, MEAN_NAMES, COVARIANCE_NAMES, statisticsSet } from './statistics.ts';

export const FEATURE_ENDINGS = ['.safetensors', '.npy', '.npz'] as const;

/** Names of features where no name is given, the first that is there. */
const USUAL = ['features', 'arr_0'] as const;
/** More than any set of features that fits memory. */
const LARGEST = 2 ** 33;

/** What a file says by name: shapes without their values, and the values. */
interface Arrays {
  readonly path: string;
  /** What the set is called: the file and the name in it. */
  readonly label: string;
  readonly names: readonly string[];
  readonly extractor: ExtractorIdentity | null;
  shape(name: string): Promise<readonly number[]>;
  read(name: string): Promise<{ readonly shape: readonly number[]; readonly values: Features }>;
}

/** FILE#NAME, where the file is there; the name is null without one. */
function parts(spec: string): { readonly path: string; readonly name: string | null } {
  const hash = spec.lastIndexOf('#');
  if (hash <= 0 || existsSync(spec)) return { path: spec, name: null };
  return { path: spec.slice(0, hash), name: spec.slice(hash + 1) };
}

/**
 * The features [n, d] or the statistics of a file; null where it holds neither, as files of images and of this project's models. `FILE.safetensors#NAME` and `FILE.npz#NAME` name
 * one of several arrays. Beside features, `logits` and `labels` of the same rows are read too; so are the extractor's name and checksum where they are told.
 * @throws InputError for a missing or damaged file, an unknown name, and shapes that fit nothing
 */
export async function readFeatures(spec: string): Promise<FeatureSet | null> {
  const { path, name } = parts(spec);
  const ending = FEATURE_ENDINGS.find((each) => path.toLowerCase().endsWith(each));
  if (!ending || (existsSync(path) && statSync(path).isDirectory())) return null;
  if (ending === '.npy') {
    if (name !== null) throw new InputError(`${spec}: ${path} holds one array; leave '#${name}' out`);
    const { shape, values } = plain(await readNpy(path));
    return shape.length === 2 ? asFeatures({ shape, values }, spec, null) : null;
  }
  return ending === '.npz' ? fromZip(path, spec, name) : fromSafetensors(path, spec, name);
}

/** Whether a name is that of features which a file holds beside others: FILE.safetensors#NAME. */
export const namesFeatures = (spec: string): boolean =>
  parts(spec).name !== null && FEATURE_ENDINGS.some((each) => parts(spec).path.toLowerCase().endsWith(each));

async function fromZip(path: string, label: string, name: string | null): Promise<FeatureSet | null> {
  const zip = await openZip(path);
  try {
    const names = [...zip.entries.keys()].filter((each) => each.endsWith('.npy')).map((each) => each.slice(0, -4));
    const read = async (each: string) => plain(await entry(zip, path, each));
    const extractor = await identityOf(names, async () => (await entry(zip, path, 'onestep')).data);
    return await fromArrays({ path, label, names, extractor, read, shape: (each) => entryShape(zip, path, each) }, name);
  } finally {
    await zip.close();
  }
}

/** Of an array that may be images of many gigabytes: its header alone is read. */
async function entryShape(zip: ZipFile, path: string, name: string): Promise<readonly number[]> {
  const file = `${name}.npy`;
  const { size } = zip.entries.get(file)!;
  return npyHeader(await zip.range(file, 0, Math.min(size, NPY_HEADER_BYTES)), `${path}#${name}`).shape;
}

const entry = async (zip: ZipFile, path: string, name: string): Promise<NpyArray> =>
  parseNpy(await zip.read(`${name}.npy`, LARGEST), `${path}#${name}`);

function plain({ shape, data }: NpyArray): { readonly shape: readonly number[]; readonly values: Features } {
  return {
    shape,
    values:
      data instanceof Float32Array || data instanceof Float64Array ? data : Float64Array.from(data as ArrayLike<number | bigint>, Number),
  };
}

async function fromSafetensors(path: string, label: string, name: string | null): Promise<FeatureSet | null> {
  const file = await openSafetensors(path);
  try {
    const { extractor, extractorSha256, onestep: card } = file.metadata;
    if (card !== undefined && name === null) return null; // weights of a model
    const identity = extractor === undefined ? null : { name: extractor, checksum: extractorSha256 ?? null };
    const read = async (each: string) => {
      const tensor = await file.read(each);
      return { shape: tensor.shape, values: tensor.dtype === 'F64' ? toFloat64(tensor) : toFloat32(tensor) };
    };
    const set = await fromArrays(
      { path, label, names: file.names, extractor: identity, read, shape: async (each) => file.info(each).shape },
      name,
    );
    return set && withSamples(set, file);
  } finally {
    await file.close();
  }
}

/** Of how many samples statistics are, where the file says so. */
function withSamples(set: FeatureSet, { metadata }: SafetensorsFile): FeatureSet {
  const n = Number(metadata['samples']);
  return set.moments && set.n === null && Number.isInteger(n) && n >= 2 ? { ...set, n, moments: { ...set.moments, n } } : set;
}

async function fromArrays(arrays: Arrays, name: string | null): Promise<FeatureSet | null> {
  const { names, path, label } = arrays;
  const prefix = name === null || name === '' ? '' : `${name}.`;
  const [mean, covariance] = [MEAN_NAMES, COVARIANCE_NAMES].map((list) =>
    list.map((each) => prefix + each).find((each) => names.includes(each)),
  );
  if (name !== null && names.includes(name)) return besides(arrays, name);
  if (mean && covariance) {
    const n = names.includes(`${prefix}n`) ? Number((await arrays.read(`${prefix}n`)).values[0]) : null;
    return statisticsSet(label, await arrays.read(mean), await arrays.read(covariance), n, arrays.extractor);
  }
  if (name !== null) throw new InputError(`${path}: no array '${name}'${didYouMean(name, names)}; it holds ${listed(names)}`);
  const usual = USUAL.find((each) => names.includes(each)) ?? (names.length === 1 ? names[0]! : null);
  if (usual === null) {
    const flat: string[] = [];
    for (const each of names) if ((await arrays.shape(each)).length === 2) flat.push(each);
    if (flat.length === 0) return null;
    throw new InputError(`${path}: holds ${listed(names)}; say which with ${path}#NAME`);
  }
  return (await arrays.shape(usual)).length === 2 ? besides(arrays, usual) : null;
}

function listed(names: readonly string[]): string {
  const sorted = names.toSorted();
  return sorted.length > 12 ? `${sorted.slice(0, 12).join(', ')}, …` : sorted.join(', ') || 'nothing';
}

/** Features with what else is known of their rows: `logits` and `labels` beside `features`, `NAME.logits` and `NAME.labels` beside `NAME`. */
async function besides(arrays: Arrays, name: string): Promise<FeatureSet> {
  const set = asFeatures(await arrays.read(name), arrays.label, arrays.extractor);
  const find = (what: string): string | undefined =>
    [`${name}.${what}`, ...(name === 'features' ? [what] : [])].find((each) => arrays.names.includes(each));
  const [logits, labels] = [/(^|\.)logits$/.test(name) ? name : find('logits'), find('labels')];
  const scores = logits === undefined ? null : await arrays.read(logits);
  const classes = labels === undefined ? null : await arrays.read(labels);
  if (scores && (scores.shape.length !== 2 || scores.shape[0] !== set.n))
    throw new InputError(`${arrays.path}: '${logits}' has shape [${scores.shape.join(', ')}]; [${set.n}, classes] expected`);
  if (classes && classes.values.length !== set.n)
    throw new InputError(`${arrays.path}: '${labels}' has ${classes.values.length} values; ${set.n}, one for each sample, expected`);
  return { ...set, logits: scores && { values: scores.values, classes: scores.shape[1]! }, labels: classes?.values ?? null };
}

function asFeatures(
  { shape, values }: { readonly shape: readonly number[]; readonly values: Features },
  name: string,
  extractor: ExtractorIdentity | null,
): FeatureSet {
  const [n = 0, d = 0] = shape;
  if (shape.length !== 2 || n < 1 || d < 1)
    throw new InputError(`${name}: has shape [${shape.join(', ')}]; features [samples, dimensions] expected, at least one of each`);
  return featureSet(values, d, { name, extractor });
}

/** Stores a set: `features`, and `logits` and `labels` where it has them. `facts` stand in the metadata. */
export async function writeFeatures(path: string, set: FeatureSet, facts: Readonly<Record<string, string>> = {}): Promise<void> {
  const { features, logits, labels, n, dimensions, extractor } = set;
  if (!features || n === null)
    throw new InputError(`${path}: ${set.name} has statistics alone; features can be stored where there are features`);
  const of = (values: Features, shape: readonly number[]): StoredTensor =>
    values instanceof Float64Array ? fromFloat64(values, shape) : fromFloat32(values, shape);
  const tensors = {
    features: of(features, [n, dimensions]),
    ...(logits ? { logits: of(logits.values, [n, logits.classes]) } : {}),
    ...(labels
      ? {
          labels: fromBigInt64(
            BigInt64Array.from(Array.from(labels), (label) => BigInt(label)),
            [n],
          ),
        }
      : {}),
  };
  const identity = extractor ? { extractor: extractor.name, ...(extractor.checksum ? { extractorSha256: extractor.checksum } : {}) } : {};
  await writeSafetensors(path, tensors, { ...identity, ...facts });
}
