/** @file One stage of bench/scale.ts in a process of its own. Its last line is JSON. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as ort from 'onnxruntime-node';
import { keepsMemory, memoryOf, totalOf } from '../cli/work/memory.ts';
import { method } from '../cli/work/methods.ts';
import { loadModel, saveModel } from '../cli/work/model.ts';
import { planOf } from '../cli/work/plan.ts';
import { makeTrainer } from '../cli/work/training.ts';
import '../engine/graph/fluent.ts';
import { toOnnxFiles } from '../engine/graph/onnx.ts';
import { input } from '../engine/graph/ops/leaf.ts';
import { writeAtomic } from '../engine/io/atomic.ts';
import { fromFloat32, writeSafetensors } from '../engine/io/safetensors.ts';
import { fillNormal, streamKey } from '../engine/random/philox.ts';
import type { ConditionTable } from '../engine/train/conditions.ts';
import { constantScope, layoutSize } from '../engine/train/weights.ts';
import { loadNetwork } from '../models/foreign/diffusers/folder.ts';
import { diffusersNetwork } from '../models/foreign/diffusers/networks.ts';
import { declaredBy } from '../models/foreign/diffusers/weights.ts';
import { SIZES } from './scale-sizes.ts';

const [what, name, folder] = process.argv.slice(2) as [string, string, string];
const { config, side, dtype } = SIZES[name]!;
const checkpoint = join(folder, 'checkpoint');
const onnx = join(folder, 'denoiser.onnx');
const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** All weights are the beginnings of one block of normal values: no more is held than the largest of them. */
async function make() {
  mkdirSync(checkpoint, { recursive: true });
  writeFileSync(join(checkpoint, 'config.json'), JSON.stringify(config));
  const declared = [...declaredBy('config', diffusersNetwork('config', config)).values()];
  const block = new Float32Array(Math.max(...declared.map(({ shape }) => count(shape))));
  fillNormal(block, streamKey(0, 0, 'scale'), block.length);
  for (let i = 0; i < block.length; i++) block[i]! *= 0.02;
  const { bytes } = fromFloat32(block, [block.length], dtype);
  const width = dtype === 'F16' ? 2 : 4;
  const tensors = declared.map(
    ({ name: weight, shape }) => [weight, { dtype, shape, bytes: bytes.subarray(0, width * count(shape)) }] as const,
  );
  await writeSafetensors(join(checkpoint, 'diffusion_pytorch_model.safetensors'), tensors, { format: 'pt' });
  return { parameters: declared.reduce((sum, { shape }) => sum + count(shape), 0) };
}

/** What `onestep import` does with a network. */
async function bring() {
  const { network, weights } = await loadNetwork(checkpoint, { asStored: true });
  const scheduler = { _class_name: 'DDPMScheduler', prediction_type: 'epsilon' };
  await saveModel(
    join(folder, 'model.safetensors'),
    {
      format: 1,
      network: 'diffusers',
      networkOptions: { config: JSON.stringify(config), scheduler: JSON.stringify(scheduler), sigmaData: 1 },
      sample: { shape: [network.channels, side, side], classes: network.classes, conditions: network.conditions },
      schedule: { sigmaMin: 0.01, sigmaMax: 100, rho: 7 },
      levels: null,
      method: 'import',
      data: '',
      seed: 0,
      step: 0,
      nimg: 0,
      average: null,
      licence: 'none',
    },
    weights,
    'stored',
  );
  return { weights: weights.size };
}

async function leave() {
  const { network, weights } = await loadNetwork(checkpoint);
  const conditions = Object.fromEntries(Object.entries(network.conditions).map(([key, shape]) => [key, input(key, [1, ...shape])]));
  const { output: y } = network.raw(constantScope(weights))(input('x', [1, network.channels, side, side]), input('time', [1]), conditions);
  const { model, external } = toOnnxFiles({ y }, { external: 'denoiser.onnx.data', storage: dtype === 'F16' ? 'float16' : 'float32' });
  await writeAtomic(`${onnx}.data`, external);
  await writeAtomic(onnx, model);
  return { modelBytes: model.length };
}

const fieldOf = (file: string, field: string): number =>
  Math.round(Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/self/${file}`, 'utf8'))?.[1] ?? 0) / 1024);

/** Waits until two processes have evaluated and still hold what they hold. */
async function bothReady(): Promise<void> {
  const ready = join(folder, 'ready');
  mkdirSync(ready, { recursive: true });
  writeFileSync(join(ready, String(process.pid)), '');
  while (readdirSync(ready).length < 2) await new Promise((resolve) => setTimeout(resolve, 100));
  process.once('exit', () => rmSync(ready, { recursive: true, force: true }));
}

/** Weights stay in the mapped file: nothing is computed ahead from them, nor packed. */
async function evaluate(waits: boolean) {
  const begin = performance.now();
  const session = await ort.InferenceSession.create(onnx, {
    graphOptimizationLevel: 'extended', // 'all' arranges filters anew, in copies
    enableMemPattern: false,
    logSeverityLevel: 3,
    extra: { session: { disable_prepacking: '1' }, optimization: { disable_specified_optimizers: 'ConstantFolding' } },
  });
  const created = performance.now();
  const feeds = Object.fromEntries(
    session.inputMetadata.flatMap((m) => {
      if (!m.isTensor) return [];
      const shape = m.shape.map(Number);
      return [[m.name, new ort.Tensor('float32', new Float32Array(count(shape)).fill(0.1), shape)]];
    }),
  );
  const y = (await session.run(feeds))['y']!.data as Float32Array;
  const done = performance.now();
  if (waits) await bothReady();
  const round = (ms: number): number => Math.round(ms / 100) / 10;
  return {
    createSeconds: round(created - begin),
    evaluationSeconds: round(done - created),
    finite: y.every((v) => Number.isFinite(v)),
    residentMegabytes: fieldOf('smaps_rollup', 'Rss'),
    proportionalMegabytes: fieldOf('smaps_rollup', 'Pss'),
  };
}

/** Side of the latents of the training step. */
const TRAINED_SIDE = 32;

/**
 * Steps of DMD2 of one sample at 32×32 latents by adapters of rank 64, one of the critic and one of the student: teacher, student and fake score share one copy of the weights
 * under the adapters, in float16, and values between blocks are computed again in the backward pass.
 */
async function adapt() {
  const stored = await loadModel(join(folder, 'model.safetensors'));
  const shape = [stored.card.sample.shape[0]!, TRAINED_SIDE, TRAINED_SIDE] as const;
  const teacher = { ...stored, card: { ...stored.card, sample: { ...stored.card.sample, shape } } };
  const texts: ConditionTable = {
    size: 4,
    row(condition, index) {
      const row = new Float32Array(count(teacher.card.sample.conditions?.[condition] ?? []));
      if (condition === 'mask') return row.fill(1);
      fillNormal(row, streamKey(index, 0, condition), row.length);
      return row;
    },
  };
  const [channels, height, width] = shape;
  const images = new Uint8Array(4 * count(shape));
  const data = { name: 'noise', size: 4, channels, height, width, images, labels: null, classes: null, mayFlip: false, licence: 'none' };
  const options = {
    steps: 2,
    batch: 1,
    ratio: 1,
    loraRank: 64,
    frozenStorage: 'float16',
    recompute: 'blocks',
    averages: [],
    data: 'noise',
  };
  const plan = planOf(await method('dmd2'), null, options, teacher.card);
  const begin = performance.now();
  const request = { plan, command: 'distill', folder, split: { train: data, heldOut: data }, teacher, resume: false } as const;
  const trainer = await makeTrainer({ ...request, texts: { table: texts, nulls: texts } });
  const made = performance.now();
  const vectors = Object.values((await trainer.snapshot()).vectors).reduce((n, v) => n + v.byteLength, 0);
  const estimate = totalOf(await memoryOf(trainer.phases, { parts: 1, beside: 1 }, vectors, keepsMemory(plan.run)));
  const ready = performance.now();
  const noise = new Float32Array(count(shape));
  fillNormal(noise, streamKey(0, 0, 'latents'), noise.length);
  const conditionsOf = (step: number) =>
    Object.fromEntries(Object.keys(teacher.card.sample.conditions ?? {}).map((name) => [name, texts.row(name, step)]));
  const terms: Record<string, number> = {};
  await trainer.run({
    until: 2,
    batch: async (step) => ({ images: noise, labels: null, conditions: conditionsOf(step) }),
    onStep: (report) => void Object.assign(terms, report.terms),
  });
  const seconds = (from: number, to: number): number => Math.round((to - from) / 100) / 10;
  const trained = Object.fromEntries(Object.entries(trainer.layouts).map(([player, layout]) => [player, layoutSize(layout)]));
  const estimatedMegabytes = Math.round(estimate / 1024 ** 2);
  return { compileSeconds: seconds(begin, made), twoStepsSeconds: seconds(ready, performance.now()), estimatedMegabytes, trained, terms };
}

const STAGES: Readonly<Record<string, () => Promise<unknown>>> = {
  make,
  import: bring,
  export: leave,
  adapt,
  evaluate: () => evaluate(false),
  share: () => evaluate(true),
};
console.log(JSON.stringify(await STAGES[what]!()));
if (what === 'share') await new Promise((resolve) => setTimeout(resolve, 2000)); // the other one measures too
process.exit(0);
