/** @file Folders of diffusers: whole pipelines step by step against stored latents, every mistake in one line, and how fast large networks are built. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import '../../../engine/graph/fluent.ts';
import { constant, input } from '../../../engine/graph/ops/leaf.ts';
import type { Tensor } from '../../../engine/graph/tensor.ts';
import { InputError } from '../../../engine/io/errors.ts';
import {
  fromBigInt64,
  fromFloat32,
  readSafetensors,
  type StoredTensor,
  toFloat32,
  writeSafetensors,
} from '../../../engine/io/safetensors.ts';
import { ortRuntime } from '../../../engine/run/ort.ts';
import { float32 } from '../../../engine/run/runtime.ts';
import { goldenPath } from '../../../engine/testing/golden.ts';
import type { Denoiser } from '../../../engine/train/network.ts';
import { constantScope } from '../../../engine/train/weights.ts';
import { guided } from '../../../samplers/guidance.ts';
import { placeOf } from '../../../samplers/steps.ts';
import { constantLevels } from '../../../samplers/unroll.ts';
import { mismatches, readGolden } from '../../testing/golden.ts';
import { loadAutoencoder, loadNetwork, loadPipeline, readConfigFile } from './folder.ts';
import { diffusersNetwork, foreignDenoiser } from './networks.ts';
import { fitted } from './sampling.ts';
import { type ForeignSchedule, readScheduler } from './schedulers.ts';
import { declaredBy } from './weights.ts';

const scratch = mkdtempSync(join(tmpdir(), 'folders-'));
afterAll(() => rmSync(scratch, { recursive: true }));
const root = goldenPath('diffusers/README.md')?.replace(/\/README\.md$/, '');

type Stored = ReadonlyMap<string, StoredTensor>;
const valuesOf = (tensors: Stored, name: string): Float32Array => toFloat32(tensors.get(name)!);
async function run(outputs: Record<string, Tensor>, feeds: Record<string, Float32Array>, shapes: Record<string, readonly number[]>) {
  const runtime = ortRuntime({ threads: 1 });
  const { program } = await runtime.compile({ program: { outputs, updates: new Map() } }, runtime.state({}));
  try {
    const given = Object.fromEntries(Object.entries(feeds).map(([name, data]) => [name, float32(data, shapes[name]!)]));
    return await program!.run(given);
  } finally {
    await program!.close();
  }
}
const worst = (got: ArrayLike<number>, want: ArrayLike<number>): number => Math.max(...Array.from(got, (v, i) => Math.abs(v - want[i]!)));

interface Walk {
  readonly denoise: Denoiser;
  readonly schedule: ForeignSchedule;
  readonly start: Float32Array;
  readonly shape: readonly number[];
  readonly noise?: readonly Float32Array[];
}
/** The states after each of n steps, in the scheduler's own scale. */
async function walk(n: number, { denoise: given, schedule, start, shape, noise = [] }: Walk): Promise<Float32Array[]> {
  const { sampler: solver, denoise } = fitted(schedule, given);
  const { levels, ends } = schedule.steps(n);
  expect(ends.slice(0, -1)).toEqual(levels.slice(1));
  const states: Float32Array[] = [];
  let theirs = start;
  for (const [i, level] of levels.entries()) {
    const [x, fresh] = [input('x', shape), input('fresh', shape)];
    const draw = { normal: () => fresh } as never;
    const after = solver.step(
      denoise,
      { x: x.mul(1 / schedule.scale(level)) },
      constantLevels(solver, levels, i, ends.at(-1)),
      draw,
      placeOf(i, ends[i]!, solver.opening),
    );
    const feeds = { x: theirs, fresh: noise[i] ?? new Float32Array(theirs.length) };
    const { y } = await run({ y: after.x.mul(schedule.scale(ends[i]!)).add(fresh.mul(0)) }, feeds, { x: shape, fresh: shape });
    theirs = y!.data as Float32Array;
    states.push(theirs);
  }
  return states;
}

/** [N,C,H,W] in −1…1 → [N,H,W,C] in 0…1. */
const asImages = (x: Tensor): Tensor => x.mul(0.5).add(0.5).clamp(0, 1).transpose([0, 2, 3, 1]);

interface PipelineFacts {
  readonly cases: readonly {
    readonly name: string;
    readonly timesteps: readonly number[];
    readonly noise?: readonly string[];
    readonly x?: readonly string[];
    readonly latents?: readonly string[];
    readonly start: string;
    readonly images: string;
    readonly scheduler?: Record<string, unknown>;
  }[];
  readonly tolerance: Readonly<Record<string, number>>;
  readonly class_labels?: readonly number[];
  readonly guidance_scale?: number;
}
const stored = async (name: string) => {
  const folder = join(root!, 'pipelines', name);
  const facts = (await readConfigFile(join(folder, 'golden.json'))) as PipelineFacts;
  return { folder, facts, tensors: (await readSafetensors(join(folder, 'golden.safetensors'))).tensors as Stored };
};
function expectStates(
  states: readonly Float32Array[],
  names: readonly string[],
  tensors: Stored,
  tolerance: PipelineFacts['tolerance'],
): void {
  const off = names.map((name, i) => worst(states[i]!, valuesOf(tensors, name)) / tolerance[name]!);
  expect(Math.max(...off)).toBeLessThanOrEqual(1);
}

describe.skipIf(!root)('whole pipelines, step by step', () => {
  test.each(['ddpm', 'ddim'])('ddpm: %s', async (name) => {
    const { folder, facts, tensors } = await stored('ddpm');
    const found = facts.cases.find((c) => c.name === name)!;
    const pipeline = await loadPipeline(folder);
    const schedule = found.scheduler ? readScheduler('ddim', { _class_name: 'DDIMScheduler', ...found.scheduler }) : pipeline.schedule;
    expect(schedule.steps(5).times).toEqual(found.timesteps);
    const raw = pipeline.network.raw(constantScope(pipeline.weights));
    const { denoise } = foreignDenoiser(raw, schedule);
    const { shape } = tensors.get(found.start)!;
    const noise = (found.noise ?? []).map((n) => valuesOf(tensors, n));
    const states = await walk(5, { denoise, schedule, start: valuesOf(tensors, found.start), shape, noise });
    expectStates(states, found.x!, tensors, facts.tolerance);
    const { images } = await run({ images: asImages(input('x', shape)) }, { x: states[4]! }, { x: shape });
    expect(worst(images!.data as Float32Array, valuesOf(tensors, found.images))).toBeLessThan(facts.tolerance[found.images]!);
  });

  test('dit: the null class is what a missing label means, and the learned variance is dropped', async () => {
    const { folder, facts, tensors } = await stored('dit');
    const pipeline = await loadPipeline(folder);
    expect(pipeline.network.className).toBe('DiTTransformer2DModel');
    const labels = Float32Array.from(facts.class_labels!.flatMap((label) => Array.from({ length: 1000 }, (_, i) => Number(i === label))));
    await expectGuided(pipeline, facts, tensors, { label: constant(labels, [2, 1000]) }, {});
  });

  test('stable-diffusion: text features as stored', async () => {
    const { folder, facts, tensors } = await stored('stable-diffusion');
    const texts = (await readSafetensors(join(folder, 'text-encoder-golden.safetensors'))).tensors;
    // The features of the empty text by the same text encoder: transformers 5.23.0.
    const empty = (await readSafetensors(join(import.meta.dirname, 'testing/empty-text.safetensors'))).tensors;
    const of = (t: StoredTensor): Tensor => constant(toFloat32(t), t.shape);
    const text = of(texts.get('texts.out.last_hidden_state')!);
    await expectGuided(await loadPipeline(folder), facts, tensors, { text }, { text: of(empty.get('empty')!) });
  });
});

/** Guided latents after each step, and the images that the autoencoder makes of the last. */
async function expectGuided(
  { network, weights, schedule, autoencoder }: Awaited<ReturnType<typeof loadPipeline>>,
  facts: PipelineFacts,
  tensors: Stored,
  condition: Record<string, Tensor>,
  nulls: Record<string, Tensor>,
): Promise<void> {
  const [found] = facts.cases;
  expect(schedule.steps(5).times).toEqual(found!.timesteps);
  const network_ = foreignDenoiser(network.raw(constantScope(weights), nulls), schedule);
  const push = guided(network_.denoise, facts.guidance_scale!);
  const { shape } = tensors.get(found!.start)!;
  const denoise: Denoiser = (x, sigma) => push(x, sigma, condition);
  const states = await walk(5, { denoise, schedule, start: valuesOf(tensors, found!.start), shape });
  expectStates(states, found!.latents!, tensors, facts.tolerance);
  const image = autoencoder!.decode(constantScope(autoencoder!.weights), input('x', shape));
  const { images } = await run({ images: asImages(image) }, { x: states[4]! }, { x: shape });
  expect(worst(images!.data as Float32Array, valuesOf(tensors, found!.images))).toBeLessThan(facts.tolerance[found!.images]!);
}

test.skipIf(!root)('shards load as one file', async () => {
  const folder = join(root!, 'safetensors/sharded-diffusers');
  const { network, weights, path } = await loadNetwork(folder);
  expect(path).toMatch(/index\.json$/);
  const golden = await readGolden(join(folder, 'golden.json'));
  const forward = (scope: Parameters<typeof network.forward>[0], inputs: Record<string, Tensor>) => network.forward(scope)(inputs).output;
  expect(await mismatches(golden, golden.facts.cases[0]!, forward, { weights })).toEqual([]);
});

describe.skipIf(!root)('mistakes in a folder', () => {
  let count = 0;
  const copy = (name = 'pipelines/ddpm'): string => {
    const to = join(scratch, `case${count++}`);
    cpSync(join(root!, name), to, { recursive: true });
    return to;
  };
  const edit = (path: string, change: (json: Record<string, never>) => Record<string, unknown>): void =>
    writeFileSync(path, JSON.stringify(change(JSON.parse(readFileSync(path, 'utf8')))));
  const says = async (folder: string, pattern: RegExp): Promise<void> => {
    const error = await loadPipeline(folder).then(
      () => new Error('nothing was refused'),
      (reason: Error) => reason,
    );
    expect(error).toBeInstanceOf(InputError);
    expect(error.message).toMatch(pattern);
    expect(error.message).not.toContain('\n');
  };
  const weightsOf = (folder: string): string => join(folder, 'unet/diffusion_pytorch_model.safetensors');
  const rewrite = async (folder: string, change: (tensors: Map<string, StoredTensor>) => void): Promise<void> => {
    const { tensors } = await readSafetensors(weightsOf(folder));
    change(tensors);
    await writeSafetensors(weightsOf(folder), tensors);
  };

  test('files that are missing', async () => {
    await says(join(scratch, 'nowhere'), /nowhere\/model_index\.json: cannot read: no such file/);
    const [a, b, c] = [copy(), copy(), copy()];
    rmSync(join(a, 'unet'), { recursive: true });
    await says(a, /unet: no such folder, but model_index\.json names unet/);
    rmSync(join(b, 'scheduler/scheduler_config.json'));
    await says(b, /scheduler_config\.json: cannot read: no such file/);
    renameSync(weightsOf(c), join(c, 'unet/diffusion_pytorch_model.bin'));
    await says(c, /unet: no diffusion_pytorch_model\.safetensors; diffusion_pytorch_model\.bin is a pickle/);
  });
  test('classes that are not those of the index', async () => {
    const [a, b, c] = [copy(), copy(), copy()];
    edit(join(a, 'unet/config.json'), (json) => ({ ...json, _class_name: 'UNet2DConditionModel' }));
    await says(a, /unet\/config\.json: _class_name is "UNet2DConditionModel", but model_index\.json says UNet2DModel/);
    edit(join(b, 'model_index.json'), (json) => ({ ...json, unet: ['diffusers', 'UVit2DModel'] }));
    edit(join(b, 'unet/config.json'), (json) => ({ ...json, _class_name: 'UVit2DModel' }));
    await says(b, /class UVit2DModel is not a diffusion network that is supported; supported are UNet2DModel/);
    writeFileSync(join(c, 'model_index.json'), '[]');
    await says(c, /model_index\.json: the configuration is \[\]; it must be a JSON object/);
  });
  test('keys that are unknown or not supported', async () => {
    const [a, b, c, d] = [copy(), copy(), copy(), copy()];
    edit(join(a, 'unet/config.json'), (json) => ({ ...json, norm_num_grups: 4, colour: 1 }));
    await says(a, /unet\/config\.json: unknown keys norm_num_grups, colour \(did you mean norm_num_groups\?\); known are/);
    edit(join(b, 'unet/config.json'), (json) => ({ ...json, resnet_time_scale_shift: 'ada_group' }));
    await says(b, /resnet_time_scale_shift is "ada_group"; it must be one of default, scale_shift/);
    edit(join(c, 'unet/config.json'), (json) => ({ ...json, norm_num_groups: 5 }));
    await says(c, /unet\/config\.json: its sizes do not fit each other: groupNorm: 8 channels/);
    edit(join(d, 'unet/config.json'), (json) => ({ ...json, down_block_types: ['DownBlock2D', 'KDownBlock2D'] }));
    await says(d, /down_block_types: block KDownBlock2D is not supported; supported are DownBlock2D/);
  });
  test('weights that do not fit', async () => {
    const [a, b, c] = [copy(), copy(), copy()];
    await rewrite(a, (tensors) => {
      tensors.delete('conv_in.bias');
      tensors.set('conv_in.weight', fromFloat32(new Float32Array(4), [4]));
      tensors.set('extra', fromFloat32(new Float32Array(4), [4]));
      tensors.set('more', fromFloat32(new Float32Array(4), [4]));
    });
    await says(
      a,
      /conv_in\.weight is \[4\], should be \[8,3,3,3\]; conv_in\.bias \[8\] is missing; extra \[4\] is not part of the network; and 1 more/,
    );
    await rewrite(b, (tensors) => tensors.set('conv_in.bias', fromBigInt64(new BigInt64Array(8), [8])));
    await says(b, /conv_in\.bias is I64, should be one of F32, F16, BF16, F64/);
    edit(join(c, 'unet/config.json'), (json) => ({ ...json, add_attention: false }));
    await says(c, /mid_block\.attentions\.0\.\S+ \[\S+\] is not part of the network/);
  });
  test('schedulers that contradict the network', async () => {
    const a = copy();
    edit(join(a, 'scheduler/scheduler_config.json'), (json) => ({ ...json, prediction_type: 'flow_prediction' }));
    await says(a, /prediction_type is flow_prediction, but the process preserves variance/);
    const c = copy();
    edit(join(c, 'scheduler/scheduler_config.json'), (json) => ({ ...json, variance_type: 'learned_range' }));
    await says(c, /DDPMScheduler takes a learned variance, but UNet2DModel gives 3 channels only/);
    const b = copy();
    mkdirSync(join(b, 'transformer'));
    cpSync(join(root!, 'sd3'), join(b, 'transformer'), { recursive: true });
    edit(join(b, 'model_index.json'), ({ unet: _, ...json }) => ({ ...json, transformer: ['diffusers', 'SD3Transformer2DModel'] }));
    await says(b, /SD3Transformer2DModel predicts the flow, but the scheduler DDPMScheduler says epsilon/);
  });
  test('variants: the only one is found, one that is not there is refused', async () => {
    const folder = copy('sd3');
    expect((await loadNetwork(folder)).path).toMatch(/fp16\.safetensors$/);
    await expect(loadNetwork(folder, { variant: 'bf16' })).rejects.toThrow(
      /no diffusion_pytorch_model\.bf16\.safetensors; there are the variants fp16/,
    );
  });
  test('infinities as Python writes them', async () => {
    const path = join(scratch, 'python.json');
    writeFileSync(path, '{"a": -Infinity, "b": NaN, "c": "-Infinity and NaN"}');
    expect(await readConfigFile(path)).toEqual({ a: '-inf', b: 'nan', c: '-Infinity and NaN' });
  });
  test('an autoencoder by itself', async () => {
    const tiny = await loadAutoencoder(join(root!, 'autoencoder-tiny'));
    expect([tiny.className, tiny.latentChannels, tiny.weights.size > 10]).toEqual(['AutoencoderTiny', 4, true]);
    await expect(loadAutoencoder(join(root!, 'dit'))).rejects.toThrow(/DiTTransformer2DModel is not an autoencoder/);
    expect(dirname(tiny.path)).toMatch(/autoencoder-tiny$/);
  });
});

describe('networks as they are published', () => {
  /** Numbers of parameters: the model cards' figures, counted by diffusers. */
  test.each([
    [
      'Stable Diffusion 1.5',
      { _class_name: 'UNet2DConditionModel', attention_head_dim: 8, cross_attention_dim: 768, sample_size: 64 },
      859_520_964,
    ],
    [
      'Stable Diffusion 2.1',
      {
        _class_name: 'UNet2DConditionModel',
        attention_head_dim: [5, 10, 20, 20],
        cross_attention_dim: 1024,
        use_linear_projection: true,
        sample_size: 96,
      },
      865_910_724,
    ],
    [
      'Stable Diffusion XL',
      {
        _class_name: 'UNet2DConditionModel',
        block_out_channels: [320, 640, 1280],
        down_block_types: ['DownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D'],
        up_block_types: ['CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'UpBlock2D'],
        transformer_layers_per_block: [1, 2, 10],
        attention_head_dim: [5, 10, 20],
        cross_attention_dim: 2048,
        use_linear_projection: true,
        addition_embed_type: 'text_time',
        addition_time_embed_dim: 256,
        projection_class_embeddings_input_dim: 2816,
      },
      2_567_463_684,
    ],
    ['DiT-XL/2', { _class_name: 'Transformer2DModel', norm_type: 'ada_norm_zero', out_channels: 8, num_embeds_ada_norm: 1000 }, undefined],
  ] as const)('%s is built within seconds, with its number of parameters', (_, config, parameters) => {
    const start = performance.now();
    const network = diffusersNetwork('config', config);
    const declared = declaredBy('config', network);
    expect(performance.now() - start).toBeLessThan(3000);
    const total = [...declared.values()].reduce((sum, { shape }) => sum + shape.reduce((n, d) => n * d, 1), 0);
    if (parameters !== undefined) expect(total).toBe(parameters);
  });
});
