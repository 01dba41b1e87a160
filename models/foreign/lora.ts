/** @file Low-rank adapters: read under every usual naming, fused into weights, or added to them in the graph. Hu et al. 2021, arXiv:2106.09685. */
import { add, mul, type Operand } from '../../engine/graph/ops/elementwise.ts';
import { matmul } from '../../engine/graph/ops/linalg.ts';
import { reshape } from '../../engine/graph/ops/movement.ts';
import type { Tensor } from '../../engine/graph/tensor.ts';
import { InputError } from '../../engine/io/errors.ts';
import { type StoredTensor, toFloat32 } from '../../engine/io/safetensors.ts';
import { openWeightsFile } from '../../engine/io/safetensors-shards.ts';
import type { Scope } from '../../engine/train/network.ts';
import type { Weight, Weights } from '../../engine/train/weights.ts';
import { flatNames, isText, type Part, placeOf, withoutPrefix } from './lora-names.ts';

/** What is added to one weight: scale · factor · up · down, with the axes of a filter joined. */
export interface LoraModule {
  /** The weight's name without `.weight`. */
  readonly module: string;
  readonly down: Weight;
  readonly up: Weight;
  /** α/rank, or α/√rank for a rank-stabilised adapter. */
  readonly factor: number;
}
export interface Lora {
  readonly modules: readonly LoraModule[];
  /** Modules in the file that belong to text encoders. */
  readonly ofText: number;
}
type Shapes = ReadonlyMap<string, { readonly shape: readonly number[] }>;

interface Found {
  readonly tensors: Partial<Record<Part, StoredTensor>>;
}
type Settings = Readonly<Record<string, unknown>>;

const list = (names: readonly string[]): string =>
  `${names.slice(0, 3).join(', ')}${names.length > 3 ? ` and ${names.length - 3} more` : ''}`;
const size = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);
const show = (shape: readonly number[]): string => `[${shape.join(',')}]`;

/** PEFT's own settings in the metadata, without the prefix of the part that they are for. */
function settingsOf(where: string, metadata: Readonly<Record<string, string>>): Settings {
  const text = metadata['lora_adapter_metadata'];
  if (text === undefined) return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new InputError(`${where}: the metadata entry lora_adapter_metadata is not JSON`);
  }
  if (typeof value !== 'object' || value === null)
    throw new InputError(`${where}: the metadata entry lora_adapter_metadata is no JSON object`);
  const own = Object.entries(value).filter(([name]) => !isText(name));
  const settings = Object.fromEntries(own.map(([name, setting]) => [withoutPrefix(name), setting]));
  if (settings['use_dora'] === true) throw new InputError(`${where}: use_dora is true; adapters with magnitudes are not supported`);
  return settings;
}

/** α of a module: its own tensor, PEFT's pattern for it or for all, or the rank. */
function alphaOf(where: string, module: string, rank: number, own: StoredTensor | undefined, settings: Settings): number {
  const patterns = Object.entries((settings['alpha_pattern'] ?? {}) as Readonly<Record<string, unknown>>);
  const special = patterns.find(([name]) => module === name || module.endsWith(`.${name}`))?.[1];
  const alpha = own ? toFloat32(own)[0] : (special ?? settings['lora_alpha'] ?? rank);
  if (typeof alpha !== 'number' || !Number.isFinite(alpha))
    throw new InputError(`${where}: alpha of ${module} is ${String(alpha)}; it must be a number`);
  return alpha;
}

/** Errors: InputError for parts that are missing or do not fit the weight. */
function moduleOf(where: string, module: string, { tensors }: Found, weight: readonly number[], settings: Settings): LoraModule {
  const { down, up } = tensors;
  if (!down || !up) throw new InputError(`${where}: ${module} has no ${down ? 'up' : 'down'} matrix`);
  const rank = down.shape[0] ?? 0;
  const fits =
    up.shape[1] === rank &&
    rank > 0 &&
    up.shape[0] === weight[0] &&
    size(up.shape) === weight[0]! * rank &&
    size(down.shape) === rank * (size(weight) / weight[0]!);
  if (!fits)
    throw new InputError(`${where}: ${module}: ${show(up.shape)} times ${show(down.shape)} does not fit the weight ${show(weight)}`);
  const alpha = alphaOf(where, module, rank, tensors.alpha, settings);
  return {
    module,
    down: { shape: down.shape, data: toFloat32(down) },
    up: { shape: up.shape, data: toFloat32(up) },
    factor: alpha / (settings['use_rslora'] === true ? Math.sqrt(rank) : rank),
  };
}

/**
 * Reads adapters for a network. A file may hold those of text encoders too, which are counted.
 * @param weights the network's weights or what it declares, by name
 * @throws InputError for adapters of another kind, modules that the network does not have (or none that it has), and matrices that do not fit
 */
export async function readLora(path: string, weights: Shapes): Promise<Lora> {
  const file = await openWeightsFile(path);
  try {
    const modules = [...weights.keys()].filter((name) => name.endsWith('.weight')).map((name) => name.slice(0, -'.weight'.length));
    const [known, flat] = [new Set(modules), flatNames(modules)];
    const found = new Map<string, Found>();
    const [strange, unknown, texts] = [[] as string[], new Set<string>(), new Set<string>()];
    for (const name of file.names) {
      const place = placeOf(name);
      if (!place) strange.push(name);
      else if (isText(place.module)) texts.add(place.module);
      else {
        const written = withoutPrefix(place.module);
        const module = place.flat ? flat.get(written) : known.has(written) ? written : undefined;
        if (module === undefined) unknown.add(place.module);
        else found.set(module, { tensors: { ...found.get(module)?.tensors, [place.part]: await file.read(name) } });
      }
    }
    if (strange.length > 0) throw new InputError(`${path}: ${list(strange)}: not a low-rank adapter of a known kind`);
    if (found.size === 0)
      throw new InputError(
        `${path}: matches no module of the network; it has ${list([...unknown, ...texts]) || 'nothing'}, the network has ${list(modules)}`,
      );
    if (unknown.size > 0) throw new InputError(`${path}: the network has no ${list([...unknown])}`);
    const settings = settingsOf(path, file.metadata);
    return {
      modules: [...found].map(([module, parts]) => moduleOf(path, module, parts, weights.get(`${module}.weight`)!.shape, settings)),
      ofText: texts.size,
    };
  } finally {
    await file.close();
  }
}

/** weight + scale · factor · up · down, in float64 until the end. */
function fused({ shape, data }: Weight, { down, up, factor }: LoraModule, scale: number): Weight {
  const rank = down.shape[0]!;
  const inside = data.length / shape[0]!;
  const sum = Float64Array.from(data);
  for (let o = 0; o < shape[0]!; o++)
    for (let r = 0; r < rank; r++) {
      const v = scale * factor * up.data[o * rank + r]!;
      for (let i = 0; i < inside; i++) sum[o * inside + i]! += v * down.data[r * inside + i]!;
    }
  return { shape, data: Float32Array.from(sum) };
}
/** The weights with adapters added. */
export function fuseLora(weights: Weights, lora: Lora, scale = 1): Weights {
  const changed = new Map(lora.modules.map((m) => [`${m.module}.weight`, fused(weights.get(`${m.module}.weight`)!, m, scale)]));
  return new Map([...weights].map(([name, weight]) => [name, changed.get(name) ?? weight]));
}

/** The matrices of adapters by PEFT's names: what `loraScope` asks its second scope for. */
export const loraWeights = (lora: Lora): Weights =>
  new Map(
    lora.modules.flatMap(({ module, down, up }) => [[`${module}.lora_A.weight`, down] as const, [`${module}.lora_B.weight`, up] as const]),
  );

/** A scope of the network's weights with adapters added to them; the matrices come from a scope of their own, so that they alone may be trained. */
export function loraScope(base: Scope, adapters: Scope, lora: Lora, scale: Operand = 1): Scope {
  const byName = new Map(lora.modules.map((m) => [`${m.module}.weight`, m]));
  const made = new Map<string, Tensor>();
  const get = (name: string, shape: readonly number[], init?: Parameters<Scope>[2]): Tensor => {
    const weight = base(name, shape, init);
    const module = byName.get(name);
    if (!module) return weight;
    if (!made.has(name)) made.set(name, add(weight, reshape(mul(product(adapters, module), scale), [...shape])));
    return made.get(name)!;
  };
  return Object.assign(get, { buffer: base.buffer });
}
/** factor · up · down, [out, rest]. */
function product(adapters: Scope, { module, down, up, factor }: LoraModule): Tensor {
  const rank = down.shape[0]!;
  const a = reshape(adapters(`${module}.lora_A.weight`, down.shape), [rank, -1]);
  const b = reshape(adapters(`${module}.lora_B.weight`, up.shape), [-1, rank]);
  return mul(matmul(b, a), factor);
}
