/** @file An image tower alone, for distances between sets of images: DINOv2, CLIPVisionModelWithProjection, or the half of a CLIP. */
import { basename, resolve } from 'node:path';
import { input } from '../../engine/graph/ops/leaf.ts';
import { InputError } from '../../engine/io/errors.ts';
import { ifThere, readJson } from '../../engine/io/json.ts';
import type { SafetensorsFile } from '../../engine/io/safetensors.ts';
import { openFolderWeights, weightsChecksum } from '../../engine/io/weights-folder.ts';
import { within } from '../../engine/train/network.ts';
import { clipVision, readClipVision } from '../../models/foreign/clip.ts';
import { record, sides } from '../../models/foreign/diffusers/config.ts';
import { dinov2, dinov2Names, isDinov2Weight, readDinov2 } from '../../models/foreign/dinov2.ts';
import { readWeightsOf } from '../../models/foreign/hf-weights.ts';
import { dense } from '../../models/foreign/vit.ts';
import { openClip } from './clip.ts';
import { defaultPreprocessing, hfPreprocessing, type Preprocessing, type PreprocessKind } from './preprocess.ts';
import { imageBatches, openTower, type TowerGraph } from './tower.ts';

export interface ImageTower {
  readonly name: string;
  /** SHA-256 of the weights: distances compare only within one checksum. */
  readonly checksum: string;
  readonly dimensions: number;
  readonly preprocessing: Preprocessing;
  /** pixels [n,3,S,S], preprocessed → [n, dimensions]. @throws InputError for another number of values */
  features(pixels: Float32Array): Promise<Float32Array>;
  close(): Promise<void>;
}

interface Described {
  readonly kind: PreprocessKind;
  /** Side of the images, where the files do not say another. */
  readonly size: number;
  /** Whether the network takes images of any size. */
  readonly anySize: boolean;
  readonly graph: (size: number, names: readonly string[]) => TowerGraph;
  readonly keep: (name: string) => boolean;
}

/** The crop of DINOv2's own evaluation, whatever its positions were trained for. */
const DINO_SIZE = 224;

function describe(where: string, json: unknown): Described | undefined {
  const type = record(where, json)['model_type'];
  if (type === 'dinov2' || type === 'dinov2_with_registers') {
    const config = readDinov2(where, json);
    const graph =
      (size: number, names: readonly string[]): TowerGraph =>
      (scope) =>
        dinov2(scope, config, dinov2Names(names))(input('pixels', ['N', config.num_channels, size, size])).pooled;
    return { kind: 'dinov2', size: DINO_SIZE, anySize: true, graph, keep: isDinov2Weight };
  }
  if (type !== 'clip_vision_model') return undefined;
  const config = readClipVision(where, json);
  const size = sides(config.image_size)![0];
  const graph = (side: number, names: readonly string[]): TowerGraph => {
    const projects = names.includes('visual_projection.weight');
    const prefix = names.some((name) => name.startsWith('vision_model.')) ? 'vision_model.' : '';
    return (scope) => {
      const { pooled } = clipVision(within(scope, prefix), config)(input('pixels', ['N', config.num_channels, side, side]));
      return projects ? dense(scope, 'visual_projection', pooled, config.projection_dim, false) : pooled;
    };
  };
  return { kind: 'clip', size, anySize: false, graph, keep: () => true };
}

/** Side of the square that a `preprocessor_config.json` cuts out, as far as it says one. */
function saidSize(json: unknown): number | undefined {
  const { crop_size: crop, size } = (json ?? {}) as Readonly<Record<string, unknown>>;
  const said = crop ?? size;
  const value =
    typeof said === 'object' && said !== null
      ? ((said as Record<string, unknown>)['height'] ?? (said as Record<string, unknown>)['shortest_edge'])
      : said;
  return typeof value === 'number' ? value : undefined;
}

async function ofClip(folder: string, threads: number): Promise<ImageTower> {
  const clip = await openClip(folder, { threads });
  const { name, checksum, dimensions, preprocessing } = clip;
  return { name, checksum, dimensions, preprocessing, features: (pixels) => clip.imageFeatures(pixels), close: () => clip.close() };
}

/** @throws InputError where files are missing, malformed, do not fit each other or ask for what is not supported */
export async function openImageTower(folder: string, { threads = 1 }: { readonly threads?: number } = {}): Promise<ImageTower> {
  const where = `${folder}/config.json`;
  const json = await ifThere(readJson, where);
  const described = json === undefined ? undefined : describe(where, json);
  if (!described) return ofClip(folder, threads);
  const preprocessAt = `${folder}/preprocessor_config.json`;
  const said = await ifThere(readJson, preprocessAt);
  const size = described.anySize ? (saidSize(said) ?? described.size) : described.size;
  const { kind } = described;
  const preprocessing = said === undefined ? defaultPreprocessing(kind, size) : hfPreprocessing(preprocessAt, said, kind, size);
  const file: SafetensorsFile = await openFolderWeights(folder);
  const weights = await readWeightsOf(file, described.keep).finally(() => file.close());
  if (weights.size === 0) throw new InputError(`${folder}: the file holds no weights`);
  const tower = await openTower(folder, described.graph(size, file.names), weights, threads);
  return {
    name: basename(resolve(folder)),
    checksum: await weightsChecksum(folder),
    dimensions: tower.dimensions,
    preprocessing,
    features: (pixels) => imageBatches(basename(folder), tower, pixels, size),
    close: () => tower.close(),
  };
}
