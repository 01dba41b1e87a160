/** @file A student as a pipeline of diffusers: its network and the other parts under their own names, and the scheduler that steps as it was trained to. */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeAtomic } from '../../engine/io/atomic.ts';
import { InputError } from '../../engine/io/errors.ts';
import { fromFloat32, writeSafetensors } from '../../engine/io/safetensors.ts';
import { nullName } from '../../models/foreign/diffusers/family.ts';
import { classNameOf, diffusersNetwork } from '../../models/foreign/diffusers/networks.ts';
import { type Scaling, type StudentScheduler, studentScheduler } from '../../models/foreign/diffusers/student-scheduler.ts';
import { declaredBy } from '../../models/foreign/diffusers/weights.ts';
import { type Comparison, compareModels, requireStudent, type Storage } from './exporting.ts';
import { copyParts } from './importing.ts';
import { loadModel, type Model, type ModelCard } from './model.ts';
import { encoderOf } from './texts.ts';

/** By this file a folder is known as a pipeline. */
export const PIPELINE_FILE = 'model_index.json';
const WEIGHTS_FILE = 'diffusion_pytorch_model.safetensors';

interface Kind {
  readonly pipeline: string;
  /** The folder of the network. */
  readonly part: 'unet' | 'transformer';
  readonly scaling: Scaling;
  /** Parts that are switched off. */
  readonly without: Readonly<Record<string, unknown>>;
  /** The guidance that the pipeline is to be told; absent: 1, which is none. */
  readonly guidance?: number;
}
const NONE = [null, null];
const WITHOUT_PICTURES = { image_encoder: NONE, feature_extractor: NONE };

/** Which pipeline a network and its texts belong to. Errors: networks that are not of diffusers, and those without a pipeline. */
function kindOf({ card, weights, source }: Model): Kind {
  if (card.network !== 'diffusers')
    throw new InputError(
      `export: ${source} is a ${card.network}, which diffusers does not know; write it as onnx, folder or safetensors instead`,
    );
  const className = classNameOf(source, JSON.parse(String(card.networkOptions['config'])));
  const text = card.text?.kind;
  const unet = { part: 'unet', scaling: 'levels' } as const;
  const none = { safety_checker: NONE, ...WITHOUT_PICTURES, requires_safety_checker: false };
  const zeros = { force_zeros_for_empty_prompt: weights.get(nullName('text'))?.data.every((v) => v === 0) ?? true };
  if (className === 'UNet2DConditionModel' && text === 'clip') return { ...unet, pipeline: 'StableDiffusionPipeline', without: none };
  if (className === 'UNet2DConditionModel' && text === 'clip-pair')
    return { ...unet, pipeline: 'StableDiffusionXLPipeline', without: { ...WITHOUT_PICTURES, ...zeros } };
  if (className === 'UNet2DModel') return { part: 'unet', scaling: 'none', pipeline: 'DDPMPipeline', without: {} };
  const transformer = { part: 'transformer', without: {} } as const;
  if (className === 'DiTTransformer2DModel') return { ...transformer, scaling: 'none', pipeline: 'DiTPipeline' };
  if (className === 'PixArtTransformer2DModel' && text === 't5')
    return { ...transformer, scaling: 'levels', pipeline: card.text!.length > 120 ? 'PixArtSigmaPipeline' : 'PixArtAlphaPipeline' };
  const joint = { part: 'transformer', scaling: 'levels', without: WITHOUT_PICTURES } as const;
  if (className === 'SD3Transformer2DModel' && text === 'sd3') return { ...joint, pipeline: 'StableDiffusion3Pipeline' };
  if (className === 'SD3Transformer2DModel' && text === 'sd3-clips') {
    const without = { ...WITHOUT_PICTURES, text_encoder_3: NONE, tokenizer_3: NONE };
    return { ...joint, pipeline: 'StableDiffusion3Pipeline', without };
  }
  if (className === 'FluxTransformer2DModel' && text === 'flux')
    return { ...joint, pipeline: 'FluxPipeline', guidance: weights.get(nullName('guidance'))?.data[0] ?? 1 };
  throw new InputError(`export: there is no pipeline for a ${className} without texts; write it as onnx, folder or safetensors instead`);
}
/** What keeps a student from being one network and one scheduler. */
function checkStudent(model: Model): void {
  requireStudent(model);
  const { card, source } = model;
  if (card.experts)
    throw new InputError(`export: ${source} is several networks, which no pipeline takes; write it as onnx or folder instead`);
  if (card.form?.kind === 'told')
    throw new InputError(
      `export: ${source} is told ${Object.keys(card.form.scalars).join(', ')}, which diffusers has no input for; write it as onnx or folder instead`,
    );
}

/** Everything that stands in a pipeline's folder beside its weights. */
interface Plan {
  readonly kind: Kind;
  readonly scheduler: StudentScheduler;
}
function planOf(model: Model): Plan {
  checkStudent(model);
  const kind = kindOf(model);
  const { levels, noise = 'fresh', networkOptions } = model.card;
  const json: unknown = JSON.parse(String(networkOptions['scheduler']));
  return { kind, scheduler: studentScheduler('scheduler_config.json', json, { levels: levels!, noise }, kind.scaling) };
}

/** The scheduler that fits a student. Errors: students that no pipeline holds. */
export const schedulerFor = (model: Model): StudentScheduler => planOf(model).scheduler;

/** Errors: whatever `schedulerFor` refuses, and what cannot be written. */
export function checkPipeline(model: Model, storage: Storage): void {
  planOf(model);
  if (storage !== 'float32' && storage !== 'float16')
    throw new InputError(`storage: weights of a pipeline are float32 or float16, not ${storage}`);
}

/** Writes the folder, `model_index.json` last. @returns names of what was written, and the program that draws with it */
export async function writePipeline(model: Model, out: string, storage: Storage): Promise<readonly string[]> {
  const { kind, scheduler } = planOf(model);
  const config: unknown = JSON.parse(String(model.card.networkOptions['config']));
  const declared = declaredBy('network', diffusersNetwork('network', config));
  const dtype = storage === 'float16' ? 'F16' : 'F32';
  const tensors = [...model.weights]
    .filter(([name]) => declared.has(name))
    .map(([name, { data, shape }]) => [name, fromFloat32(data, shape, dtype)] as const);
  const left = [...model.weights.keys()].find((name) => !declared.has(name) && !name.startsWith(nullName('')));
  if (left) throw new InputError(`export: ${model.source} has the weight ${left}, which diffusers does not know; write it as onnx instead`);
  const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
  await copyParts(model, out);
  for (const part of [kind.part, 'scheduler']) await mkdir(join(out, part), { recursive: true });
  await writeSafetensors(join(out, kind.part, WEIGHTS_FILE), tensors, { format: 'pt' });
  await writeAtomic(join(out, kind.part, 'config.json'), json(config));
  await writeAtomic(join(out, 'scheduler', 'scheduler_config.json'), json(scheduler.config));
  await writeAtomic(join(out, PIPELINE_FILE), json(await indexOf(model, out, { kind, scheduler })));
  return [kind.part, 'scheduler', ...(model.card.parts ?? []), PIPELINE_FILE];
}

async function indexOf({ card }: Model, out: string, { kind, scheduler }: Plan): Promise<Readonly<Record<string, unknown>>> {
  const configured = async (part: string, file: string, name: string): Promise<string | undefined> => {
    const text = await readFile(join(out, part, file), 'utf8').catch(() => '{}');
    const found = (JSON.parse(text) as Readonly<Record<string, unknown>>)[name];
    return Array.isArray(found) ? String(found[0]) : typeof found === 'string' ? found : undefined;
  };
  const parts: Record<string, readonly string[]> = {};
  for (const part of card.parts ?? []) {
    if (part === 'vae') parts[part] = ['diffusers', (await configured(part, 'config.json', '_class_name')) ?? 'AutoencoderKL'];
    else if (part.startsWith('text_encoder'))
      parts[part] = ['transformers', (await configured(part, 'config.json', 'architectures')) ?? encoderClass(card, part)];
    else parts[part] = ['transformers', (await configured(part, 'tokenizer_config.json', 'tokenizer_class')) ?? tokenizerClass(card, part)];
  }
  const config = JSON.parse(String(card.networkOptions['config'])) as Readonly<Record<string, unknown>>;
  return {
    _class_name: kind.pipeline,
    ...(typeof config['_diffusers_version'] === 'string' ? { _diffusers_version: config['_diffusers_version'] } : {}),
    ...parts,
    [kind.part]: ['diffusers', config['_class_name']],
    scheduler: ['diffusers', scheduler.config['_class_name']],
    ...kind.without,
  };
}
const isT5 = ({ text }: ModelCard, part: string): boolean =>
  text !== undefined && encoderOf(text, part.replace(/^(text_encoder|tokenizer)/, '')) === 't5';
function encoderClass(card: ModelCard, part: string): string {
  if (isT5(card, part)) return 'T5EncoderModel';
  const projected = card.text?.kind.startsWith('sd3') || (card.text?.kind === 'clip-pair' && part === 'text_encoder_2');
  return projected ? 'CLIPTextModelWithProjection' : 'CLIPTextModel';
}
const tokenizerClass = (card: ModelCard, part: string): string => (isT5(card, part) ? 'T5Tokenizer' : 'CLIPTokenizer');

/** Whether the scheduler's steps are near the student's only: times of a table instead of its levels, LCM's boundary instead of its own. */
export function isApproximate(model: Model): boolean {
  const { levels } = planOf(model).scheduler;
  return model.card.form !== undefined || levels.some((level, i) => Math.abs(level / model.card.levels![i]! - 1) > 1e-6);
}

/** Samples of the written folder by the scheduler's steps, beside those of the student from the same noise. */
export async function comparePipeline(model: Model, out: string): Promise<Comparison> {
  const { scheduler } = planOf(model);
  const [, height, width] = model.card.sample.shape;
  const { card, ...stored } = await loadModel(height === width ? `${out}:size=${height}` : out);
  const { levels, noise } = { noise: model.card.noise ?? 'fresh', levels: scheduler.levels };
  return compareModels(model, { ...stored, card: { ...card, levels, noise } });
}

/** A program that draws with the folder that it stands in. */
export function pipelineProgram(model: Model): string {
  const { kind, scheduler } = planOf(model);
  const [[word, values]] = Object.entries(scheduler.call) as [[string, readonly number[]]];
  const list = `[${values.join(', ')}]`;
  // Parts that its pipeline needs but where it is told that there is none.
  const none = Object.keys(kind.without).filter((name) => /^(text_encoder|tokenizer)_/.test(name));
  const head = `# Draws with the student in this folder: pip install torch diffusers transformers
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
${kind.scaling === 'levels' ? '' : 'from PIL import Image\n'}
folder = Path(__file__).parent
pipe = DiffusionPipeline.from_pretrained(${['folder', ...none.map((name) => `${name}=None`)].join(', ')}).to(torch.float32)
`;
  if (kind.scaling === 'levels')
    return `${head}image = pipe("a prompt", guidance_scale=${kind.guidance ?? '1.0'}, ${sidesOf(model.card)}${word}=${list}).images[0]
image.save(folder / "sample.png")
`;
  return head + loopProgram(kind, model.card, `${word}=${list}`, scheduler.config['_class_name'] === 'TCDScheduler');
}

/** The size of the picture, for networks of any size, whose pipelines have another one. */
const sidesOf = ({ text, image }: ModelCard): string => (text?.kind === 'flux' && image ? `height=${image[1]}, width=${image[2]}, ` : '');

/** The pipeline itself takes no list of times. */
function loopProgram({ part }: Kind, { sample: { shape, classes }, image }: ModelCard, times: string, deterministic: boolean): string {
  const label = classes > 0 ? ', class_labels=torch.tensor([0])' : '';
  const decoded = image ? '    x = pipe.vae.decode(x / pipe.vae.config.scaling_factor).sample\n' : '';
  return `pipe.scheduler.set_timesteps(${times})
x = torch.randn(1, ${shape.join(', ')})
with torch.no_grad():
    for t in pipe.scheduler.timesteps:
        predicted = pipe.${part}(x, t[None]${label}).sample[:, :${shape[0]}]
        x = pipe.scheduler.step(predicted, t, x${deterministic ? ', eta=0.0' : ''}).prev_sample
${decoded}pixels = ((x[0].clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
Image.fromarray(pixels.squeeze()).save(folder / "sample.png")
`;
}
