/** @file Teachers from elsewhere: their samples are those that their own pipelines draw, and every mistake is one line. */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { readSafetensors, toFloat32 } from '../../engine/io/safetensors.ts';
import { goldenPath } from '../../engine/testing/golden.ts';
import { loadScheduler } from '../../models/foreign/diffusers/folder.ts';
import { sampler } from '../../samplers/index.ts';
import { splitSpec } from './foreign.ts';
import { writeTeacher } from './importing.ts';
import { openLatents } from './latents.ts';
import { loadModel } from './model.ts';
import { textTable, withNegative } from './prompts.ts';
import { openTrajectories } from './trajectory.ts';

const root = goldenPath('diffusers/README.md')?.replace(/\/README\.md$/, '');
const scratch = mkdtempSync(join(tmpdir(), 'foreign-'));
afterAll(() => rmSync(scratch, { recursive: true }));
const refused = (message: string | RegExp) =>
  expect.objectContaining({
    name: 'InputError',
    message: typeof message === 'string' ? expect.stringContaining(message) : expect.stringMatching(message),
  });
const worst = (got: ArrayLike<number>, want: ArrayLike<number>): number => {
  expect(got.length).toBe(want.length);
  return Array.from(got, (v, i) => Math.abs(v - want[i]!)).reduce((a, b) => (a > b ? a : b), 0);
};

describe('what is said behind a path', () => {
  test('is split off', () => {
    expect(splitSpec('a/b.onnx:kind=eps,schedule=vp,classes=10')).toEqual({
      path: 'a/b.onnx',
      options: { kind: 'eps', schedule: 'vp', classes: 10 },
    });
    expect(splitSpec('runs/a')).toEqual({ path: 'runs/a', options: {} });
    expect(splitSpec('x:negativePrompt=ugly, blurred=no')).toEqual({ path: 'x', options: { negativePrompt: 'ugly, blurred=no' } });
  });
  test.each([
    ['a:kind=epsilon', 'kind: epsilon is not one of eps, v, x0, flow, denoiser'],
    ['a:shedule=vp', 'shedule is nothing that can be said of a model; did you mean schedule?'],
    ['a:size=-1', 'size: -1 is not a whole number'],
  ])('%s is refused', (spec, message) => {
    expect(() => splitSpec(spec)).toThrow(refused(message));
  });
});

interface Facts {
  readonly prompts?: readonly string[];
  readonly class_labels?: readonly number[];
  readonly guidance_scale?: number;
  readonly cases: readonly {
    readonly name: string;
    readonly timesteps: readonly number[];
    readonly start: string;
    readonly latents: readonly string[];
    readonly images: string;
  }[];
  readonly tolerance: Readonly<Record<string, number>>;
}
const images = (values: Float32Array, shape: readonly number[]): number[] => {
  const [c, h, w] = shape as [number, number, number];
  const n = values.length / (c * h * w);
  const out: number[] = [];
  for (let i = 0; i < n; i++)
    for (let p = 0; p < h * w; p++)
      for (let k = 0; k < c; k++) out.push(Math.min(1, Math.max(0, values[(i * c + k) * h * w + p]! / 2 + 0.5)));
  return out;
};

describe.skipIf(!root)('pipelines', () => {
  test.each([['stable-diffusion'], ['dit']])('%s, imported to a folder, draws what the reference draws', async (name) => {
    const from = join(root!, 'pipelines', name);
    const facts = JSON.parse(readFileSync(join(from, 'golden.json'), 'utf8')) as Facts;
    const { tensors } = await readSafetensors(join(from, 'golden.safetensors'));
    const golden = (tensor: string): Float32Array => toFloat32(tensors.get(tensor)!);
    const folder = join(scratch, name);
    await writeTeacher(folder, await loadModel(from));
    const model = await loadModel(folder);
    expect(model.card).toMatchObject({ network: 'diffusers', levels: null, image: [3, 16, 16] });
    const schedule = await loadScheduler(join(from, 'scheduler'));
    const one = facts.cases.find((each) => each.name === 'ddim') ?? facts.cases[0]!;
    const steps = schedule.steps(one.timesteps.length);
    expect(steps.times).toEqual(one.timesteps);
    const conditions = facts.prompts ? { conditions: await textTable(model, facts.prompts) } : {};
    const start = golden(one.start);
    const count = start.length / model.card.sample.shape.reduce((a, b) => a * b, 1);
    const walk = openTrajectories(model, sampler('ddim', {}), { guidance: facts.guidance_scale ?? 3, threads: 1 });
    const { x } = await walk.walk({
      levels: steps.levels,
      end: steps.ends.at(-1)!,
      start: start.map((v) => v / schedule.scale(steps.levels[0]!)),
      labels: facts.class_labels ?? null,
      ...conditions,
      seed: 0,
      first: 0,
      count,
    });
    await walk.close();
    const end = x.map((v) => v * schedule.scale(steps.ends.at(-1)!));
    const last = one.latents.at(-1)!;
    expect(worst(end, golden(last))).toBeLessThan(facts.tolerance[last]!);
    const latents = openLatents(model, { threads: 1 });
    const drawn = await latents.decode(end);
    await latents.close();
    expect(worst(images(drawn, model.card.image!), golden(one.images))).toBeLessThan(facts.tolerance[one.images]!);
  });

  test('a negative prompt takes the place of the empty one', async () => {
    const from = join(root!, 'pipelines', 'stable-diffusion');
    const [plain, given] = [await loadModel(from), await loadModel(`${from}:negativePrompt=ugly`)];
    const later = await withNegative(plain, 'ugly');
    const nullOf = (model: typeof plain): Float32Array => model.weights.get('null.text')!.data;
    expect(worst(nullOf(given), nullOf(later))).toBe(0);
    expect(worst(nullOf(given), nullOf(plain))).toBeGreaterThan(0.1);
  });

  test('features of prompts are kept by their content, and a damaged shard is made again', async () => {
    const model = await loadModel(join(root!, 'pipelines', 'stable-diffusion'));
    const cache = join(scratch, 'texts');
    const texts = ['a cat', 'a dog'];
    const first = await textTable(model, texts, { cache });
    const [shard] = readdirSync(cache);
    const again = await textTable(model, texts, { cache });
    expect(worst(again.row('text', 1), first.row('text', 1))).toBe(0);
    writeFileSync(join(cache, shard!), 'damaged');
    const repaired = await textTable(model, texts, { cache });
    expect(worst(repaired.row('text', 1), first.row('text', 1))).toBe(0);
    expect(worst(first.row('text', 0), first.row('text', 1))).toBeGreaterThan(0.1);
  });

  test('a prompt that is too long is cut where the reference cuts it, and said', async () => {
    const model = await loadModel(join(root!, 'pipelines', 'stable-diffusion'));
    const notes: string[] = [];
    const long = Array.from({ length: 90 }, () => 'cat').join(' ');
    const table = await textTable(model, [long, `${long} and more`], { onNote: (note) => notes.push(note) });
    expect(notes).toEqual([
      expect.stringMatching(/^2 prompts are longer than the 77 tokens of the text encoder and cut off there: "cat cat/),
    ]);
    expect(worst(table.row('text', 0), table.row('text', 1))).toBe(0);
  });

  test.each([['unet2d-class', 'kind=eps,schedule=linear', [3, 8, 8], 10]])(
    '%s by itself, with what it predicts',
    async (name, said, shape, classes) => {
      expect((await loadModel(`${join(root!, name)}:${said}`)).card.sample).toEqual({ shape, classes });
    },
  );

  /** A copy of the tiny Stable Diffusion with something wrong. */
  const broken = (name: string, change: (folder: string) => void): string => {
    const folder = join(scratch, name);
    cpSync(join(root!, 'pipelines', 'stable-diffusion'), folder, { recursive: true });
    change(folder);
    return folder;
  };
  const edit = (path: string, change: (json: Record<string, unknown>) => void): void => {
    const json = JSON.parse(readFileSync(path, 'utf8'));
    change(json);
    writeFileSync(path, JSON.stringify(json));
  };
  test.each([
    [
      'no-tokenizer',
      (f: string) => rmSync(join(f, 'tokenizer'), { recursive: true }),
      /there is no tokenizer, which the pipeline StableDiffusionPipeline needs for its texts/,
    ],
    ['no-vae', (f: string) => rmSync(join(f, 'vae'), { recursive: true }), /vae: no such folder, but model_index.json names vae/],
    [
      'wrong-class',
      (f: string) => edit(join(f, 'unet/config.json'), (j) => Object.assign(j, { _class_name: 'VQModel' })),
      /_class_name is "?VQModel"?, but model_index.json says UNet2DConditionModel/,
    ],
    [
      'wrong-shape',
      (f: string) => edit(join(f, 'unet/config.json'), (j) => Object.assign(j, { block_out_channels: [8, 24] })),
      /the weights do not fit the configuration: .* is \[.*should be \[/,
    ],
    [
      'wrong-prediction',
      (f: string) => edit(join(f, 'scheduler/scheduler_config.json'), (j) => Object.assign(j, { prediction_type: 'flow_prediction' })),
      /prediction_type/,
    ],
    [
      'truncated',
      (f: string) =>
        writeFileSync(
          join(f, 'unet/diffusion_pytorch_model.safetensors'),
          readFileSync(join(f, 'unet/diffusion_pytorch_model.safetensors')).subarray(0, 9000),
        ),
      /safetensors/,
    ],
  ])('%s is refused in one line', async (name, change, message) => {
    await expect(loadModel(broken(name, change))).rejects.toThrow(refused(message));
  });
  test.each([
    ['unet2d-class', /a network without a scheduler; say what it predicts and on which schedule/],
    ['unet-condition-sd:kind=eps,schedule=scaled-linear', /UNet2DConditionModel is conditioned on text; give its whole pipeline/],
    ['flux', /FluxTransformer2DModel is conditioned on text, pooled/],
    ['pipelines/ddpm:size=7', /samples of 7x7 do not divide by 2; give another size/],
  ])('%s is refused', async (name, message) => {
    await expect(loadModel(join(root!, name))).rejects.toThrow(refused(message));
  });
  test('links in a folder lead on, as caches of models have them', async () => {
    const [from, to] = [join(scratch, 'linked'), join(scratch, 'from-links')];
    cpSync(join(root!, 'pipelines', 'dit'), from, { recursive: true });
    renameSync(join(from, 'vae'), join(scratch, 'vae-elsewhere'));
    mkdirSync(join(from, 'vae'));
    for (const file of readdirSync(join(scratch, 'vae-elsewhere'))) symlinkSync(join('../../vae-elsewhere', file), join(from, 'vae', file));
    await writeTeacher(to, await loadModel(from));
    rmSync(from, { recursive: true });
    const latents = openLatents(await loadModel(to), { threads: 1 });
    expect(await latents.decode(new Float32Array(4 * 8 * 8))).toHaveLength(3 * 16 * 16);
    await latents.close();
  });
  test('a folder without its parts is refused', async () => {
    const folder = join(scratch, 'alone');
    mkdirSync(folder);
    await writeTeacher(join(scratch, 'whole'), await loadModel(join(root!, 'pipelines', 'dit')));
    cpSync(join(scratch, 'whole/model.safetensors'), join(folder, 'model.safetensors'));
    await expect(loadModel(folder)).rejects.toThrow(
      refused(/is a part of a pipeline, whose vae should be in .*alone; copy the folder as a whole/),
    );
  });
});
