/** @file How files of low-rank adapters call the modules that they change: PEFT, earlier diffusers, and kohya's scripts with diffusers' or the original names of blocks. */

export type Part = 'down' | 'up' | 'alpha';
/** A tensor's place: the module as the file writes it, and which part of it. */
export interface Place {
  readonly module: string;
  readonly part: Part;
  /** Whether dots are written as underscores. */
  readonly flat: boolean;
}

const PARTS: readonly (readonly [RegExp, Part])[] = [
  [/\.lora_A(\.default)?\.weight$/, 'down'],
  [/\.lora_B(\.default)?\.weight$/, 'up'],
  [/\.lora(_linear_layer)?\.down\.weight$/, 'down'],
  [/\.lora(_linear_layer)?\.up\.weight$/, 'up'],
  [/\.lora_down\.weight$/, 'down'],
  [/\.lora_up\.weight$/, 'up'],
  [/\.alpha$/, 'alpha'],
];
/** Attention processors of early diffusers: `….attn1.processor.to_q_lora.down.weight`. */
const PROCESSOR = /\.processor\.(to_q|to_k|to_v|to_out)_lora\.(down|up)\.weight$/;

/** The place of a tensor, or null where the name is of another kind of adapter. */
export function placeOf(name: string): Place | null {
  const early = PROCESSOR.exec(name);
  if (early) {
    const layer = early[1] === 'to_out' ? 'to_out.0' : early[1]!;
    return { module: `${name.slice(0, early.index)}.${layer}`, part: early[2] as Part, flat: false };
  }
  const found = PARTS.find(([pattern]) => pattern.test(name));
  if (!found) return null;
  const module = name.replace(found[0], '');
  return { module, part: found[1], flat: !module.includes('.') };
}

/** What stands before the modules of a diffusion network, and of text encoders, which are another network's. */
const NETWORK = /^(base_model\.model\.|unet\.|transformer\.|diffusion_model\.|lora_unet_|lora_transformer_)/;
const TEXT = /^(text_encoder(_\d)?\.|lora_te\d?_)/;
export const isText = (module: string): boolean => TEXT.test(module);
export const withoutPrefix = (module: string): string => module.replace(NETWORK, '');

/** Parts of a residual block under the names of the original code. */
const ORIGINAL_PARTS: Readonly<Record<string, string>> = {
  conv1: 'in_layers.2',
  conv2: 'out_layers.3',
  time_emb_proj: 'emb_layers.1',
  conv_shortcut: 'skip_connection',
};
/** What stands alone under the names of the original code. */
const ORIGINAL_LAYERS: Readonly<Record<string, string>> = {
  conv_in: 'input_blocks.0.0',
  conv_out: 'out.2',
  'time_embedding.linear_1': 'time_embed.0',
  'time_embedding.linear_2': 'time_embed.2',
  'add_embedding.linear_1': 'label_emb.0.0',
  'add_embedding.linear_2': 'label_emb.0.2',
};

/** A module of a UNet as the original code of latent diffusion calls it, or null. @param layers residual layers of a block on the way down */
export function originalName(module: string, layers: number, attended: (block: string) => boolean): string | null {
  if (Object.hasOwn(ORIGINAL_LAYERS, module)) return ORIGINAL_LAYERS[module]!;
  const match = /^(down_blocks\.(\d+)|up_blocks\.(\d+)|mid_block)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)$/.exec(module);
  if (!match) return null;
  const [, block, falling, rising, kind, at, rest] = match;
  const tail = kind === 'resnets' ? (ORIGINAL_PARTS[rest!] ?? rest) : rest;
  const slot = kind === 'attentions' ? 1 : 0;
  if (falling !== undefined) {
    const first = 1 + Number(falling) * (layers + 1);
    return kind === 'downsamplers' ? `input_blocks.${first + layers}.0.op` : `input_blocks.${first + Number(at)}.${slot}.${tail}`;
  }
  if (rising === undefined) return `middle_block.${kind === 'attentions' ? 1 : 2 * Number(at)}.${tail}`;
  const first = Number(rising) * (layers + 1);
  return kind === 'upsamplers'
    ? `output_blocks.${first + layers}.${attended(block!) ? 2 : 1}.${tail}`
    : `output_blocks.${first + Number(at)}.${slot}.${tail}`;
}

/** Every way to write the modules of a network flat → the module. */
export function flatNames(modules: readonly string[]): ReadonlyMap<string, string> {
  const layers = new Set(modules.flatMap((name) => /^down_blocks\.0\.resnets\.(\d+)\./.exec(name)?.[1] ?? [])).size;
  const attended = (block: string): boolean => modules.some((name) => name.startsWith(`${block}.attentions.`));
  const flat = (name: string): string => name.replaceAll('.', '_');
  return new Map(
    modules.flatMap((module) => {
      const original = layers > 0 ? originalName(module, layers, attended) : null;
      return [[flat(module), module] as const, ...(original === null ? [] : [[flat(original), module] as const])];
    }),
  );
}
