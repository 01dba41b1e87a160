/** @file From a teacher that was trained elsewhere to a finished student, by the command line alone. */
import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { toOnnx } from '../../engine/graph/onnx.ts';
import '../../engine/graph/fluent.ts';
import { conv2d } from '../../engine/graph/ops/conv.ts';
import { constant, input } from '../../engine/graph/ops/leaf.ts';
import { fromFloat32, readSafetensors, toFloat32, writeSafetensors } from '../../engine/io/safetensors.ts';
import { fillNormal, streamKey } from '../../engine/random/philox.ts';
import { goldenPath } from '../../engine/testing/golden.ts';
import { attempt } from '../testing/command.ts';
import { writePictures } from '../testing/tiny.ts';
import { fused } from '../work/adapters.ts';
import { loadModel } from '../work/model.ts';

const root = goldenPath('diffusers/README.md')?.replace(/\/README\.md$/, '');
const scratch = mkdtempSync(join(tmpdir(), 'import-'));
afterAll(() => rmSync(scratch, { recursive: true }));
const at = (...parts: readonly string[]): string => join(scratch, ...parts);
writeFileSync(at('p.txt'), 'a photo of a cat\n\na red hat, blue eyes\n');

const QUICK = [
  '--steps',
  '2',
  '--batch',
  '2',
  '--teacher-samples',
  '4',
  '--teacher-sample-steps',
  '2',
  '--threads',
  '1',
  '--sample-every',
  '0',
  '--beside',
  '1',
];
/** Runs a command that must succeed. @returns what it printed */
async function done(...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await attempt(...args);
  expect(code, stderr).toBe(0);
  return stdout;
}
/** The samples of a model, [n, …]. */
async function drawn(model: string, ...more: readonly string[]): Promise<Float32Array> {
  const out = at(`${Math.random()}.safetensors`);
  await done('sample', model, '--n', '2', '--threads', '1', '--out', out, ...more);
  return toFloat32((await readSafetensors(out)).tensors.get('images')!);
}
const finite = (values: Float32Array): boolean => values.length > 0 && values.every((v) => Number.isFinite(v));
const worst = (a: Float32Array, b: Float32Array): number =>
  a.reduce((most, v, i) => Math.max(most, Math.abs(v - b[i]!)), a.length === b.length ? 0 : Number.NaN);
const clamped = (values: Float32Array): Float32Array => values.map((v) => Math.min(1, Math.max(-1, v)));

describe.skipIf(!root)('a pipeline', () => {
  test('says what it is', async () => {
    const lines = (await done('import', join(root!, 'pipelines/stable-diffusion'), '--out', at('sd'))).trim().split('\n');
    expect(lines).toEqual([
      'network: UNet2DConditionModel, 0.05261 million parameters',
      'samples: 4×8×8, latents of images 3×16×16',
      'conditions: text [77,12]',
      'predicts: epsilon, schedule DDIMScheduler',
      'noise levels: 0.02917 to 14.61',
      expect.stringMatching(/^memory: 0\.21 MB of weights, \d+\.\d+ MB of intermediate values for one sample$/),
      `${join(root!, 'pipelines/stable-diffusion')} is written to ${at('sd')}; use it as --teacher ${at('sd')}`,
    ]);
    expect(readdirSync(at('sd')).sort()).toEqual(['model.safetensors', 'text_encoder', 'tokenizer', 'vae']);
    const facts = JSON.parse(await done('import', join(root!, 'pipelines/ddpm'), '--no-write', '--json'));
    expect(facts).toMatchObject({ kind: 'import', network: 'UNet2DModel', predicts: 'epsilon', sample: [3, 8, 8], classes: 0 });
    expect(await attempt('import', join(root!, 'pipelines/stable-diffusion'), '--out', at('sd'))).toMatchObject({
      code: 2,
      stderr: `error: out: ${at('sd')} holds a model already; choose another folder\n`,
    });
  });

  test('in half precision stays so, bit for bit', async () => {
    const [folder, out] = [at('half'), at('half-teacher')];
    cpSync(join(root!, 'pipelines/ddpm'), folder, { recursive: true });
    const file = join(folder, 'unet/diffusion_pytorch_model.safetensors');
    const whole = (await readSafetensors(file)).tensors;
    const halves = new Map([...whole].map(([name, t]) => [name, fromFloat32(toFloat32(t), t.shape, 'F16')]));
    await writeSafetensors(file, halves);
    await done('import', folder, '--out', out);
    const { tensors } = await readSafetensors(join(out, 'model.safetensors'));
    expect([tensors.size, new Set([...tensors.values()].map(({ dtype }) => dtype))]).toEqual([halves.size, new Set(['F16'])]);
    for (const [name, half] of halves) if (tensors.has(name)) expect(tensors.get(name), name).toEqual(half);
    expect((await loadModel(out)).weights.get('conv_in.weight')!.data).toEqual(toFloat32(halves.get('conv_in.weight')!));
  });

  test.each([
    ['dmd2', 'ddpm'],
    ['ect', 'ddpm'],
    ['sid', 'ddpm'],
    ['dmd2', 'dit'],
  ])('%s of %s: a student that starts as the teacher, is drawn from and exported', async (method, name) => {
    const out = at(`${method}-${name}`);
    await done('distill', method, '--teacher', join(root!, 'pipelines', name), ...QUICK, '--out', out);
    const samples = clamped(await drawn(out));
    expect(finite(samples)).toBe(true);
    expect(samples.length).toBe(2 * 3 * (name === 'dit' ? 256 : 64));
    expect(await done('export', out, '--out', at(`${method}-${name}.onnx`))).toContain(
      'the largest difference from the engine in 8 samples is',
    );
    expect(worst(await drawn(at(`${method}-${name}.onnx`)), samples)).toBeLessThan(2e-3);
  });

  test('of texts: distilled by prompts alone, continued, drawn by prompt, exported with its encoder and decoder', async () => {
    const run = [
      'distill',
      'dmd2',
      '--teacher',
      join(root!, 'pipelines/stable-diffusion'),
      '--prompts',
      at('p.txt'),
      ...QUICK,
      '--guidance',
      '3',
      '--text-dropout',
      '0.1',
    ];
    await done(...run, '--out', at('text'));
    await done(...run, '--steps', '4', '--out', at('text'), '--resume');
    expect(readdirSync(at('text'))).toEqual(
      expect.arrayContaining(['model.safetensors', 'teacher-samples.safetensors', 'text_encoder', 'texts', 'tokenizer', 'vae']),
    );
    const [cat, dog, none] = [
      await drawn(at('text'), '--prompt', 'a cat'),
      await drawn(at('text'), '--prompt', 'a dog'),
      await drawn(at('text')),
    ];
    expect(worst(cat, dog)).toBeGreaterThan(1e-4);
    expect(worst(cat, none)).toBeGreaterThan(1e-4);
    expect(worst(await drawn(at('text'), '--prompt', ''), none)).toBe(0);
    await done('export', at('text'), '--format', 'folder', '--out', at('finished'));
    expect(readdirSync(at('finished')).sort()).toEqual([
      'onestep.json',
      'student.onnx',
      'text_encoder.onnx',
      'tokenizer',
      'vae_decoder.onnx',
    ]);
    expect(worst(await drawn(at('finished'), '--prompt', 'a cat'), clamped(cat))).toBeLessThan(1e-4);
    expect(await attempt('sample', at('finished'), '--n', '1', '--out', at('x.png'))).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('error: prompt: '),
    });
    await done(
      'inspect',
      join(root!, 'pipelines/stable-diffusion'),
      at('text'),
      '--steps',
      '2',
      '--n',
      '1',
      '--threads',
      '1',
      '--out',
      at('inspect.png'),
    );
  });

  test('learns from images, which are encoded once', async () => {
    const data = await writePictures(at('pictures'), 6, 16);
    const out = at('latents');
    const run = [
      'distill',
      'ect',
      '--teacher',
      join(root!, 'pipelines/stable-diffusion'),
      '--prompts',
      at('p.txt'),
      '--data',
      data,
      ...QUICK,
      '--out',
      out,
    ];
    expect(await done(...run)).toContain('encoding 5 images');
    expect(await done(...run, '--steps', '3', '--resume')).not.toContain('encoding');
    const stored = (await readSafetensors(join(out, 'latents.safetensors'))).tensors.get('samples')!;
    expect(stored.shape).toEqual([5, 4, 8, 8]);
  });

  test('learns from images with captions: each has its own, and no prompts are needed', async () => {
    const data = await writePictures(at('captioned'), 5, 16);
    const caption = (i: number, text: string): void => writeFileSync(join(data, `00000${i}-${i}.txt`), `${text}\n`);
    const teacher = join(root!, 'pipelines/stable-diffusion');
    const run = (name: string, ...more: readonly string[]) =>
      attempt('distill', 'cd', '--teacher', teacher, '--data', data, ...QUICK, '--out', at(name), ...more);
    caption(0, 'a red hat');
    expect(await run('some')).toMatchObject({
      code: 2,
      stderr: 'error: data: 3 of 4 images of captioned have no caption; a .txt file beside each of them, or beside none, expected\n',
    });
    for (let i = 1; i < 5; i++) caption(i, 'a red hat');
    const weightsOf = async (name: string) => (await loadModel(at(name))).weights.get('conv_in.weight')!.data;
    expect((await run('red')).code).toBe(0);
    expect(JSON.parse((await run('dry', '--dry-run', '--json')).stdout)).toMatchObject({ images: 4, textMegabytes: expect.any(Number) });
    for (let i = 0; i < 5; i++) caption(i, 'a blue cat');
    expect((await run('blue')).code).toBe(0);
    expect(worst(await weightsOf('red'), await weightsOf('blue'))).toBeGreaterThan(0);
    // Prompts are drawn from; images keep their captions: cd looks at these alone.
    expect((await run('both', '--prompts', at('p.txt'))).code).toBe(0);
    expect(worst(await weightsOf('both'), await weightsOf('blue'))).toBe(0);
  });

  const LORA = ['--prompts', 'P', ...QUICK, '--lora-rank', '2', '--lora-alpha', '4'].map((word) => (word === 'P' ? at('p.txt') : word));
  test('with adapters: these alone are trained, and leave in the formats of others', async () => {
    const teacher = join(root!, 'pipelines/stable-diffusion');
    const style = join(root!, 'lora/kohya.safetensors');
    await done('distill', 'dmd2', '--teacher', teacher, '--teacher-lora', `${style}@0.7`, ...LORA, '--out', at('lora'));
    const { tensors } = await readSafetensors(at('lora/model.safetensors'));
    const plain = await loadModel(`${teacher}:lora=${style}@0.7`);
    for (const [name, { data }] of plain.weights) expect(worst(toFloat32(tensors.get(name)!), data), name).toBe(0);
    const ups = [...tensors].filter(([name]) => name.endsWith('.lora_B.weight'));
    expect(ups).toHaveLength(4 * 2 * 4);
    for (const [name, up] of ups) expect(Math.max(...toFloat32(up).map(Math.abs)), name).toBeGreaterThan(0);
    const samples = await drawn(at('lora'), '--prompt', 'a cat');
    for (const format of ['peft', 'kohya'] as const) {
      await done('export', at('lora'), '--format', format, '--out', at(`${format}.safetensors`));
      const again = await loadModel(`${teacher}:lora=${style}@0.7|${at(`${format}.safetensors`)}`);
      const merged = fused(await loadModel(at('lora')));
      for (const [name, { data }] of merged.weights) expect(worst(again.weights.get(name)!.data, data), name).toBeLessThan(1e-6);
    }
    await done('export', at('lora'), '--format', 'folder', '--out', at('lora-finished'));
    expect(readdirSync(at('lora-finished'))).toContain('student.onnx');
    expect(worst(await drawn(at('lora-finished'), '--prompt', 'a cat'), clamped(samples))).toBeLessThan(1e-4);
  });
  test('says what a run would take, and writes nothing', async () => {
    const run = [
      'distill',
      'dmd2',
      '--teacher',
      join(root!, 'pipelines/stable-diffusion'),
      ...LORA,
      '--dry-run',
      '--json',
      '--out',
      at('dry'),
    ];
    const facts = JSON.parse(await done(...run)) as Record<string, number>;
    expect(facts).toMatchObject({ trainedParameters: { student: 3 * 272 + 496, fake: 3 * 272 + 496 }, batch: 2 });
    // Of rank 2, by the widths of attention layers: c to c six times, and 12 to c twice: 272 numbers where c is 8, 496 where it is 16.
    // Teacher, student and fake score hold one copy of 52,609 weights and 924 of the empty text, in each of the two phases.
    expect(facts['frozenMegabytes']).toBeGreaterThan((2 * 4 * 52_609) / 1e6);
    expect(facts['frozenMegabytes']).toBeLessThan((1.2 * 2 * 4 * 52_609) / 1e6);
    const sum = ['stateMegabytes', 'frozenMegabytes', 'textMegabytes', 'activationMegabytes'].reduce((n, name) => n + facts[name]!, 0);
    expect(facts['estimatedMegabytes']).toBeCloseTo(sum, 1);
    expect(existsSync(at('dry'))).toBe(false);
  });

  test.each([
    [
      ['distill', 'dmd2', '--teacher', 'pipelines/ddpm', '--lora-rank', '2', '--lora-targets', 'nope'],
      /^error: loraTargets: nope matches no module of .*ddpm; it has time_embedding\.linear_1, time_embedding\.linear_2, conv_in, …\n$/,
    ],
    [
      ['distill', 'dmd2', '--teacher', 'pipelines/dit', '--teacher-lora', 'lora/kohya.safetensors'],
      /^error: .*kohya\.safetensors: matches no module of the network; it has lora_unet_\S+, \S+, \S+ and \d+ more, the network has /,
    ],
    [
      ['distill', 'dmd2', '--teacher', 'pipelines/stable-diffusion'],
      /^error: prompts: .*stable-diffusion is conditioned on texts; give a file with a prompt a line \(--prompts prompts\.txt\), or images with captions \(a \.txt file beside each\)\n$/,
    ],
    [['distill', 'dmd2', '--teacher', 'pipelines/ddpm', '--prompts', 'P'], /^error: prompts: .*ddpm takes no texts; leave prompts out\n$/],
    [
      ['distill', 'dmd2', '--teacher', 'pipelines/dit', '--prompts', 'P'],
      /^error: prompts: .*dit takes no texts, but classes; leave prompts out\n$/,
    ],
    [
      ['distill', 'dmd2', '--teacher', 'pipelines/ddpm', '--guidance', '2'],
      /^error: dmd2\.guidance: guidance needs a teacher with classes or texts, which .*ddpm does not have/,
    ],
    [
      ['distill', 'dmd2', '--teacher', 'pipelines/ddpm', '--student-levels', '200'],
      /^error: dmd2\.studentLevels: 200 is above 157\.\d+, the highest level that the teacher .*ddpm knows\n$/,
    ],
    [['sample', 'pipelines/ddpm', '--prompt', 'a cat'], /^error: prompt: .*ddpm takes no texts; leave prompts out\n$/],
    [['sample', 'pipelines/ddpm', '--negative-prompt', 'a cat'], /^error: prompts: .*ddpm takes no texts; leave prompts out\n$/],
    [
      ['import', 'lora'],
      /^error: import: .*lora is no model that can be imported; give a folder with model_index\.json or config\.json, a \.pkl of EDM/,
    ],
  ])('%j is refused in one line', async (words, message) => {
    const args = words.map((word) => (word === 'P' ? at('p.txt') : /^pipelines|^lora/.test(word) ? join(root!, word) : word));
    const out = words[0] === 'import' ? [] : ['--out', at('refused.png')];
    expect(await attempt(...args, ...out)).toMatchObject({ code: 2, stderr: expect.stringMatching(message) });
  });
});

const texts = goldenPath('diffusers/texts')!;
test.each([
  ['sd3', [], 'conditions: text [333,12], pooled [12]', ['', '_2', '_3']],
  ['flux', ['--size', '8'], 'conditions: text [512,8], pooled [6]', ['', '_2']],
] as const)(
  'texts of %s: imported, distilled by prompts, drawn by prompt, exported with all encoders',
  async (name, more, conditions, towers) => {
    const parts = towers.flatMap((suffix) => [`text_encoder${suffix}`, `tokenizer${suffix}`]);
    const [teacher, student, finished] = [at(`${name}-teacher`), at(`${name}-student`), at(`${name}-finished`)];
    const lines = await done('import', join(texts, name), ...more, '--out', teacher);
    expect(lines.split('\n')).toEqual(expect.arrayContaining(['samples: 4×8×8, latents of images 3×16×16', conditions]));
    expect(readdirSync(teacher).sort()).toEqual(['model.safetensors', ...parts, 'vae'].sort());
    await done('distill', 'dmd2', '--teacher', teacher, '--prompts', at('p.txt'), ...QUICK, '--out', student);
    const cat = await drawn(student, '--prompt', 'a cat');
    expect(worst(cat, await drawn(student, '--prompt', 'a dog'))).toBeGreaterThan(1e-5);
    await done('export', student, '--format', 'folder', '--out', finished);
    expect(readdirSync(finished).sort()).toEqual(
      ['onestep.json', 'student.onnx', 'text_encoder.onnx', ...towers.map((suffix) => `tokenizer${suffix}`), 'vae_decoder.onnx'].sort(),
    );
    expect(worst(await drawn(finished, '--prompt', 'a cat'), clamped(cat))).toBeLessThan(1e-4);
    await done('export', student, '--out', at(`${name}.onnx`));
  },
);

const edm = goldenPath('edm/edm-ncsnpp.pkl')?.replace(/\/[^/]*$/, '');
describe.skipIf(!edm)('a snapshot of EDM', () => {
  test.each([['vp-ddpmpp'], ['iddpm-adm']])('%s is imported, drawn from, distilled and exported', async (name) => {
    const teacher = at(`teacher-${name}`);
    await done('import', join(edm!, `${name}.pkl`), '--out', teacher);
    expect(worst(await drawn(teacher, '--steps', '2'), await drawn(join(edm!, `${name}.pkl`), '--steps', '2'))).toBe(0);
    await done('distill', 'dmd2', '--teacher', teacher, ...QUICK, '--gan-weight', '0', '--out', at(name));
    expect(await done('export', at(name), '--out', at(`${name}.onnx`))).toContain('the largest difference');
  });
  test('with a forbidden global is refused with the byte where it stands', async () => {
    expect(await attempt('import', join(edm!, 'torch/evil-raw.pkl'))).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/evil-raw\.pkl: byte 36: the global posix\.system is refused/),
    });
  });
  test('says itself what it is', async () => {
    expect(await attempt('import', join(edm!, 'edm-ncsnpp.pkl'), '--kind', 'eps')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('says itself what it is; leave kind out'),
    });
  });
});

test('samples of the teacher need a teacher', async () => {
  expect(await attempt('train', '--data', 'teacher', '--out', at('none'))).toMatchObject({
    code: 2,
    stderr: 'error: data: teacher stands for samples of the teacher, but there is none; name a data set\n',
  });
});

describe('an ONNX file', () => {
  /** ε is one convolution: a denoiser in form only. */
  const path = at('denoiser.onnx');
  const weight = new Float32Array(27);
  fillNormal(weight, streamKey(1, 0, 'weight'), 27);
  const sample = input('sample', ['N', 3, 8, 8]);
  const eps = conv2d(sample, constant(weight, [3, 1, 3, 3]), { groups: 3, padding: 1 });
  writeFileSync(path, toOnnx({ eps }, { target: 'any' }));

  test('is drawn from, distilled by its own weights and exported', async () => {
    const said = `${path}:kind=eps,schedule=linear`;
    expect(finite(await drawn(said, '--steps', '2'))).toBe(true);
    await done('import', path, '--kind', 'eps', '--schedule', 'linear', '--out', at('onnx-teacher'));
    expect(worst(await drawn(at('onnx-teacher'), '--steps', '2'), await drawn(said, '--steps', '2'))).toBe(0);
    await done('distill', 'ect', '--teacher', at('onnx-teacher'), ...QUICK, '--out', at('onnx-student'));
    await done('export', at('onnx-student'), '--out', at('onnx-student.onnx'));
  });
  test('of which nothing is said is refused', async () => {
    expect(await attempt('sample', path, '--out', at('x.png'))).toMatchObject({ code: 2 });
    expect(await attempt('distill', 'ect', '--teacher', path)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(':kind=eps,schedule=vp'),
    });
    expect(await attempt('import', path, '--kind', 'v', '--schedule', 've')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('is not defined on the schedule ve'),
    });
    expect(await attempt('import', path, '--kind', 'eps')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('say what the network predicts and on which schedule'),
    });
  });
});
