/** @file Students as pipelines of diffusers: what is written is read again as the same student, with the scheduler that fits its levels. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { goldenPath } from '../../engine/testing/golden.ts';
import { type StudentSteps, studentScheduler } from '../../models/foreign/diffusers/student-scheduler.ts';
import { tinyModel } from '../testing/tiny.ts';
import { EXPORTERS } from './export-files.ts';
import { loadModel, type Model, type ModelCard } from './model.ts';

const root = goldenPath('diffusers/README.md')?.replace(/\/README\.md$/, '');
const scratch = mkdtempSync(join(tmpdir(), 'pipeline-'));
afterAll(() => rmSync(scratch, { recursive: true }));

const TABLE = { _class_name: 'DDIMScheduler', beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' };
describe('the scheduler that fits', () => {
  const of = (levels: readonly number[], noise: StudentSteps['noise'], scaling: 'levels' | 'none') =>
    studentScheduler('s', TABLE, { levels, noise }, scaling);
  test('one level is one step of Euler from exactly there', () => {
    const { config, call, levels } = of([14.6], 'fresh', 'levels');
    expect(config).toMatchObject({ _class_name: 'EulerDiscreteScheduler', beta_start: 0.00085, prediction_type: 'epsilon' });
    expect([call, levels]).toEqual([{ sigmas: [14.6, 0] }, [14.6]]);
  });
  test('noise drawn anew is LCM at the nearest times', () => {
    const { config, call, levels } = of([14.61, 3, 0.5], 'fresh', 'levels');
    expect(config['_class_name']).toBe('LCMScheduler');
    const { timesteps } = call as { readonly timesteps: readonly number[] };
    expect(timesteps[0]).toBe(999);
    // ᾱ of Stable Diffusion's table, in float64: σ(t)² = 1/ᾱ − 1.
    let product = 1;
    const sigma = Array.from({ length: 1000 }, (_, t) => {
      product *= 1 - (Math.sqrt(0.00085) + (t / 999) * (Math.sqrt(0.012) - Math.sqrt(0.00085))) ** 2;
      return Math.sqrt(1 / product - 1);
    });
    for (const [i, t] of timesteps.entries()) {
      expect(levels[i]).toBeCloseTo(sigma[t]!, 10);
      const off = Math.abs(Math.log(sigma[t]! / [14.61, 3, 0.5][i]!));
      for (const near of [t - 1, t + 1])
        if (sigma[near] !== undefined) expect(Math.abs(Math.log(sigma[near] / [14.61, 3, 0.5][i]!))).toBeGreaterThan(off);
    }
  });
  test('without scaling in the pipeline one step is LCM, and a trajectory TCD', () => {
    expect(of([14.6], 'fresh', 'none').config['_class_name']).toBe('LCMScheduler');
    expect(of([14.6, 2], 'implied', 'none').config['_class_name']).toBe('TCDScheduler');
    expect(of([14.6, 2], 'implied', 'levels').config['_class_name']).toBe('EulerDiscreteScheduler');
  });
  test('a flow keeps the one of flows, at the times of its levels', () => {
    const made = studentScheduler(
      's',
      { _class_name: 'FlowMatchEulerDiscreteScheduler', shift: 3 },
      { levels: [999, 1], noise: 'fresh' },
      'levels',
    );
    expect(made.config).toMatchObject({ shift: 1, stochastic_sampling: true });
    expect(made.call).toEqual({ sigmas: [0.999, 0.5] });
  });
  test('levels at one time are refused', () => {
    expect(() => of([14.6, 14.599], 'fresh', 'levels')).toThrow(/levels 14.6 and 14.599 are both at time 999 of the schedule/);
  });
});

/** A teacher as if it had been distilled. */
async function studentOf(path: string, own: Partial<ModelCard> = {}): Promise<Model> {
  const teacher = await loadModel(path);
  return { ...teacher, card: { ...teacher.card, levels: [teacher.card.schedule.sigmaMax], method: 'dmd2', ...own } };
}
const asStudent = (name: string, own: Partial<ModelCard>): Promise<Model> => studentOf(join(root!, 'pipelines', name), own);
const exported = async (model: Model, out: string, storage: 'float32' | 'float16' = 'float32') =>
  EXPORTERS.diffusers({ model, out, storage, check: true, snippets: true });

const texts = goldenPath('diffusers/texts')!;
const NO_T5 = { text_encoder_3: [null, null], tokenizer_3: [null, null] };
test.each([
  ['sd3', '', {}, 'from_pretrained(folder).to', 'guidance_scale=1.0, sigmas=[0.999'],
  ['sd3', '', NO_T5, 'from_pretrained(folder, text_encoder_3=None, tokenizer_3=None).to', 'guidance_scale=1.0, sigmas=[0.999'],
  ['flux', ':size=8', {}, 'from_pretrained(folder).to', 'guidance_scale=3.5, height=16, width=16, sigmas=[0.999'],
] as const)('%s%s with %o: a flow at its own level, with all encoders', async (name, said, changes, ...lines) => {
  const [from, out] = ['from', 'to'].map((side) => join(scratch, `${name}-${side}-${Object.keys(changes).length}`)) as [string, string];
  cpSync(join(texts, name), from, { recursive: true });
  const indexOf = (folder: string): object => JSON.parse(readFileSync(join(folder, 'model_index.json'), 'utf8')) as object;
  writeFileSync(join(from, 'model_index.json'), JSON.stringify({ ...indexOf(from), ...changes }));
  const { comparison, approximate } = await exported(await studentOf(`${from}${said}`), out);
  expect([comparison!.maxDifference, approximate]).toEqual([0, false]);
  expect(indexOf(out)).toEqual(indexOf(from));
  for (const line of lines) expect(readFileSync(join(out, 'sample.py'), 'utf8')).toContain(line);
});

describe.skipIf(!root)('folders', () => {
  test.each([
    ['stable-diffusion', {}, 'StableDiffusionPipeline', 'EulerDiscreteScheduler'],
    ['stable-diffusion', { noise: 'implied' }, 'StableDiffusionPipeline', 'EulerDiscreteScheduler'],
    ['dit', {}, 'DiTPipeline', 'LCMScheduler'],
    ['ddpm', {}, 'DDPMPipeline', 'LCMScheduler'],
  ] as const)('%s of one step %o', async (name, own, pipeline, scheduler) => {
    const out = join(scratch, `${name}-${'noise' in own ? own.noise : 'one'}`);
    const model = await asStudent(name, own);
    const { comparison, files } = await exported(model, out);
    expect(comparison!.maxDifference).toBeLessThan(1e-4);
    const index = JSON.parse(readFileSync(join(out, 'model_index.json'), 'utf8')) as Readonly<Record<string, unknown>>;
    const original = JSON.parse(readFileSync(join(root!, 'pipelines', name, 'model_index.json'), 'utf8')) as Readonly<
      Record<string, unknown>
    >;
    expect(index).toMatchObject({ _class_name: pipeline, scheduler: ['diffusers', scheduler] });
    for (const part of ['unet', 'transformer', 'vae', 'text_encoder', 'tokenizer']) expect(index[part]).toEqual(original[part]);
    expect(readdirSync(out)).toEqual(expect.arrayContaining(['scheduler', 'sample.py', 'model_index.json']));
    expect(files[0]).toBe(out);
    expect(readFileSync(join(out, 'sample.py'), 'utf8')).not.toMatch(/undefined|NaN/);
  });
  test('several steps with new noise: times of the table, and the distance is stated', async () => {
    const out = join(scratch, 'few');
    const { comparison, approximate } = await exported(await asStudent('stable-diffusion', { levels: [14, 4.03, 1] }), out, 'float16');
    expect(approximate).toBe(true);
    expect(comparison!.maxDifference).toBeGreaterThan(0);
    expect(comparison!.rmsDifference).toBeLessThan(0.05);
    expect(readFileSync(join(out, 'sample.py'), 'utf8')).toMatch(/timesteps=\[\d+, \d+, \d+\]/);
  });
  test('what no pipeline holds is refused by name', async () => {
    const model = await asStudent('stable-diffusion', {});
    const refused = (given: Model, message: string) => expect(exported(given, join(scratch, 'never'))).rejects.toThrow(message);
    await refused(
      tinyModel({ levels: [80], method: 'dmd2' }),
      'which diffusers does not know; write it as onnx, folder or safetensors instead',
    );
    await refused({ ...model, card: { ...model.card, levels: null } }, 'is a teacher, which needs a sampler; distil it first');
    await refused({ ...model, card: { ...model.card, experts: [{ above: 1 }, { above: 0 }] } }, 'is several networks');
    await refused({ ...model, card: { ...model.card, form: { kind: 'told', scalars: { next: 0 } } } }, 'is told next');
    await expect(
      EXPORTERS.diffusers({ model, out: join(scratch, 'never'), storage: 'int8', check: true, snippets: false }),
    ).rejects.toThrow('not int8');
    await expect(exported(model, scratch)).rejects.toThrow('holds files already');
  });
});
