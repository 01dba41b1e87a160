/** @file Low-rank adapters of models: added to a teacher, trained instead of a student's weights, and written in the formats of others. */
import { InputError } from '../../engine/io/errors.ts';
import { fromFloat32, type StoredTensor, writeSafetensors } from '../../engine/io/safetensors.ts';
import { initialise, type Weights } from '../../engine/train/weights.ts';
import { type Adapters, isAdapter, meant, moduleOf } from '../../models/adapters.ts';
import { fuseLora, type Lora, readLora } from '../../models/foreign/lora.ts';
import type { ModelCard } from './card.ts';
import { type Model, networkNeeds } from './model.ts';
import { USUAL_TARGETS } from './teacher-words.ts';

/** The model with adapters out of files added: `style.safetensors`, or `style.safetensors@0.7` for a share of them. Errors: InputError as `readLora`. */
export async function withLora(model: Model, files: readonly string[]): Promise<Model> {
  let { weights } = fused(model);
  for (const file of files) {
    const [, path = file, scale = '1'] = /^(.*?)(?:@([\d.]+))?$/.exec(file) ?? [];
    weights = fuseLora(weights, await readLora(path, weights), Number(scale));
  }
  const { lora: _lora, ...card } = model.card;
  return { ...model, card, weights };
}

/** The adapters of a model that was trained with them. */
export function loraOf({ card: { lora }, weights }: Model): Lora {
  const modules = [...weights.keys()]
    .filter((name) => name.endsWith('.lora_A.weight'))
    .map((name) => name.slice(0, -'.lora_A.weight'.length));
  return {
    modules: modules.map((module) => ({
      module,
      down: weights.get(`${module}.lora_A.weight`)!,
      up: weights.get(`${module}.lora_B.weight`)!,
      factor: lora!.alpha / lora!.rank,
    })),
    ofText: 0,
  };
}

/** A model with its own adapters added to its weights: the same network without them. */
export function fused(model: Model): Model {
  const { lora, ...card } = model.card;
  if (!lora) return model;
  const base = new Map([...model.weights].filter(([name]) => !isAdapter(name)));
  return { ...model, card, weights: fuseLora(base, loraOf(model)) };
}

/** The weights that a player with adapters starts from: a model's, and fresh adapters. */
export const withFreshAdapters = (card: ModelCard, weights: Weights, seed: number, player: string): Weights =>
  card.lora
    ? new Map([
        ...weights,
        ...initialise(
          [...networkNeeds(card)].filter(({ name }) => isAdapter(name)),
          seed,
          player,
        ),
      ])
    : weights;

/** Errors: a target that means no module of the network. */
export function checkTargets(where: string, { targets }: Adapters, weights: Weights): void {
  const modules = [...weights].flatMap(([name, { shape }]) => moduleOf(name, shape) ?? []);
  const idle = targets.filter((target) => !modules.some((module) => meant(module, target)));
  const usual = targets.join() === USUAL_TARGETS.join();
  if (usual ? idle.length < targets.length : idle.length === 0) return;
  throw new InputError(
    `loraTargets: ${idle.join(', ')} ${idle.length > 1 ? 'match' : 'matches'} no module of ${where}; it has ${modules.slice(0, 3).join(', ')}, …`,
  );
}

/** Forms in which others read adapters. */
export const LORA_FORMATS = ['peft', 'kohya'] as const;
export type LoraFormat = (typeof LORA_FORMATS)[number];

export const isOfAdapters = (format: string): format is LoraFormat => (LORA_FORMATS as readonly string[]).includes(format);

/** Writes the adapters of a model by themselves. Errors: it has none. */
export async function writeLora(path: string, model: Model, format: LoraFormat, dtype: 'F32' | 'F16' = 'F32'): Promise<void> {
  const { card, source } = model;
  if (!card.lora) throw new InputError(`export: ${source} has no adapters; distil with --lora-rank, or export the whole student`);
  const { rank, alpha } = card.lora;
  const part = card.network === 'diffusers' && !/UNet/.test(String(card.networkOptions['config'])) ? 'transformer' : 'unet';
  const stored = ({ data, shape }: { readonly data: Float32Array; readonly shape: readonly number[] }): StoredTensor =>
    fromFloat32(data, shape, dtype);
  const tensors = loraOf(model).modules.flatMap(({ module, down, up }): (readonly [string, StoredTensor])[] => {
    if (format === 'peft')
      return [
        [`${part}.${module}.lora_A.weight`, stored(down)],
        [`${part}.${module}.lora_B.weight`, stored(up)],
      ];
    const flat = `lora_${part}_${module.replaceAll('.', '_')}`;
    return [
      [`${flat}.lora_down.weight`, stored(down)],
      [`${flat}.lora_up.weight`, stored(up)],
      [`${flat}.alpha`, stored({ data: Float32Array.of(alpha), shape: [] })],
    ];
  });
  const settings = {
    [`${part}.r`]: rank,
    [`${part}.lora_alpha`]: alpha,
    [`${part}.peft_type`]: 'LORA',
    [`${part}.target_modules`]: card.lora.targets,
  };
  const metadata: Record<string, string> =
    format === 'peft'
      ? { format: 'pt', lora_adapter_metadata: JSON.stringify(settings) }
      : { ss_network_module: 'networks.lora', ss_network_dim: String(rank), ss_network_alpha: String(alpha) };
  await writeSafetensors(path, tensors, metadata);
}
