/** @file The command `forward`: the same numbers as NVlabs/edm through files, and what is refused. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fromFloat32, readSafetensors, type StoredTensor, toFloat32, writeSafetensors } from '../../engine/io/safetensors.ts';
import { goldenPath } from '../../engine/testing/golden.ts';
import type { Scope } from '../../engine/train/network.ts';
import { type GoldenCase, readGolden } from '../../models/testing/golden.ts';
import { forwardCommand } from '../commands/forward.ts';
import { writeTinyRun } from '../testing/tiny.ts';
import { forward, readDescribedNetwork } from './forward.ts';
import { openGenerator, sampleNoise } from './generator.ts';
import { loadModel } from './model.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'forward-'));
});
afterAll(() => rm(folder, { recursive: true }));

const weightsOf = (path: string): string => path.replace('.json', '.weights.safetensors');
/** A stored case under the names of the command, and what it should give. */
function filesOf(tensors: ReadonlyMap<string, StoredTensor>, c: GoldenCase) {
  const pick = (names: Readonly<Record<string, string>>, prefix = ''): (readonly [string, StoredTensor])[] =>
    Object.entries(names).map(([role, name]) => [prefix + role, tensors.get(name)!] as const);
  return {
    given: new Map([...pick(c.inputs), ...pick(c.cotangents, 'cotangent.')]),
    wanted: [
      ...Object.entries(c.outputs),
      ...[...Object.entries(c.gradients.inputs), ...Object.entries(c.gradients.parameters)].map(([k, v]) => [`grad.${k}`, v] as const),
    ],
  };
}

const CASES = [
  ['edm-ddpmpp', 'raw'],
  ['edm-ddpmpp', 'augmented'],
  ['edm-ncsnpp', 'raw'],
  ['edm-ncsnpp', 'denoise'],
  ['edm-ncsnpp', 'no_labels'],
  ['edm-ncsnpp', 'soft_labels'],
  ['ve-ncsnpp', 'denoise'],
  ['edm-adm', 'denoise'],
  ['iddpm-adm', 'raw'],
  ['iddpm-adm', 'denoise'],
] as const;
test.skipIf(!CASES.every(([name]) => goldenPath(`edm/${name}.json`))).each(CASES)('%s %s agrees', async (name, which) => {
  const path = goldenPath(`edm/${name}.json`)!;
  const { facts, tensors } = await readGolden(path);
  const { given, wanted } = filesOf(tensors, facts.cases.find((c) => c.name === which)!);
  const files = { input: join(folder, `${name}-${which}.in.safetensors`), output: join(folder, `${name}-${which}.out.safetensors`) };
  await writeSafetensors(files.input, given);
  const args = [
    weightsOf(path),
    '--network',
    path,
    '--input',
    files.input,
    '--output',
    files.output,
    ...(which === 'raw' ? ['--raw'] : []),
  ];
  await forwardCommand().parseAsync(args, { from: 'user' });
  const got = (await readSafetensors(files.output)).tensors;
  for (const [role, golden] of wanted) {
    const [a, b] = [toFloat32(got.get(role)!), toFloat32(tensors.get(golden)!)];
    const tolerance = [facts.tolerance[golden]!].flat();
    const off = Math.max(...b.map((v, i) => Math.abs(v - a[i]!) / tolerance[Math.floor((i * tolerance.length) / b.length)]!));
    expect(off, role).toBeLessThanOrEqual(1);
  }
  // Every parameter and every given input has its gradient; buffers have none.
  const { declared } = await namesOf(path);
  const inputs = [...given.keys()].filter((k) => !k.startsWith('cotangent.'));
  expect([...got.keys()].sort()).toEqual([which === 'raw' ? 'F' : 'D', ...[...declared, ...inputs].map((k) => `grad.${k}`)].sort());
});

/** Names of the weights that train: all but filters and frequencies. */
async function namesOf(path: string): Promise<{ readonly declared: readonly string[] }> {
  const { tensors } = await readSafetensors(weightsOf(path));
  return { declared: [...tensors.keys()].filter((k) => !/resample_filter$|freqs$|^u$/.test(k)) };
}

const path = goldenPath('edm/edm-ddpmpp.json');
const stored = (shape: readonly number[], f: (i: number) => number = Math.sin): StoredTensor =>
  fromFloat32(
    Float32Array.from({ length: shape.reduce((n, d) => n * d, 1) }, (_, i) => f(i)),
    shape,
  );
const good = { x: stored([2, 3, 8, 8]), sigma: stored([2], () => 0.7) };
const load = () => readDescribedNetwork(weightsOf(path!), path!);

describe.skipIf(!path)('shapes', () => {
  test('one level for all may be written in several shapes; without a cotangent there are no gradients', async () => {
    const network = await load();
    const want = await forward(network, new Map(Object.entries(good)), { threads: 1 });
    expect([...want.keys()]).toEqual(['D']);
    for (const shape of [[], [1], [2, 1, 1, 1]]) {
      const got = await forward(network, new Map(Object.entries({ ...good, sigma: stored(shape, () => 0.7) })), { threads: 1 });
      const [a, b] = [toFloat32(got.get('D')!), toFloat32(want.get('D')!)];
      expect(Math.max(...a.map((v, i) => Math.abs(v - b[i]!)))).toBeLessThan(1e-5); // float32
    }
  });

  test.each([
    [
      { ...good, labels: good.x, y: good.x },
      {},
      'forward: unknown tensors labels, y; this network takes x, sigma, augment_labels, cotangent.D',
    ],
    [{ ...good, class_labels: stored([2, 10]) }, {}, 'forward: unknown tensors class_labels; this network takes x, sigma'],
    [{ ...good }, { raw: true }, 'forward: unknown tensors sigma; this network takes x, noise_labels, augment_labels, cotangent.F'],
    [{ sigma: good.sigma }, {}, 'forward: x missing; this network takes'],
    [{}, { raw: true }, 'forward: x and noise_labels missing; this network takes'],
    [{ ...good, x: stored([2, 3, 8, 4]) }, {}, 'forward: x is [2,3,8,4]; it should be [2,3,8,8]'],
    [{ ...good, x: stored([]) }, {}, 'forward: x is []; it should be [N,3,8,8]'],
    [{ ...good, x: stored([0, 3, 8, 8]) }, {}, 'forward: x is [0,3,8,8]; it should be [N,3,8,8]'],
    [{ ...good, sigma: stored([3]) }, {}, 'forward: sigma is [3]; it should be [2] or [1] or [] or [2,1,1,1]'],
    [{ ...good, augment_labels: stored([2, 8]) }, {}, 'forward: augment_labels is [2,8]; it should be [2,9]'],
    [{ ...good, 'cotangent.D': stored([2]) }, {}, 'forward: cotangent.D is [2]; it should be [2,3,8,8]'],
  ])('refused: %#', async (tensors, options, message) => {
    const refused = forward(await load(), new Map(Object.entries(tensors)), options);
    await expect(refused).rejects.toThrow(expect.objectContaining({ name: 'InputError', message: expect.stringContaining(message) }));
  });
});

describe.skipIf(!path)('files', () => {
  const run = async (args: readonly string[]): Promise<unknown> => {
    const files = { input: join(folder, 'in.safetensors'), output: join(folder, 'out.safetensors') };
    await writeSafetensors(files.input, good);
    return forwardCommand().parseAsync(['--input', files.input, '--output', files.output, ...args], { from: 'user' });
  };
  const write = async (name: string, text: string): Promise<string> => {
    await writeFile(join(folder, name), text);
    return join(folder, name);
  };
  const refused = (message: string) => expect.objectContaining({ name: 'InputError', message: expect.stringContaining(message) });

  test('weights of another network: the first three are named', async () => {
    const other = weightsOf(goldenPath('edm/ve-ncsnpp.json')!);
    const error = await run([other, '--network', path!]).catch((e: unknown) => e as Error);
    expect(error).toEqual(
      refused(
        `${other}: the weights do not fit the network: model.map_augment.weight [8,9] is missing; model.map_layer0.weight is [32,16], should be [32,8]; `,
      ),
    );
    expect((error as Error).message).toMatch(/; and \d+ more$/);
  });
  test('a network that is not supported', async () => {
    const other = await write('other.json', '{"class": "EDMPrecond", "init_kwargs": {"model_type": "UNet"}}');
    await expect(run([weightsOf(path!), '--network', other])).rejects.toThrow(refused('EDMPrecond: model_type UNet is not supported'));
  });
  test('files that are something else', async () => {
    const text = await write('notes.safetensors', 'these are no weights');
    await expect(run([text, '--network', path!])).rejects.toThrow(refused('notes.safetensors'));
    await expect(run([path!.replace('.json', '.pkl'), '--network', path!])).rejects.toThrow(
      refused('edm-ddpmpp.pkl says which network it is; leave --network out'),
    );
    await expect(run([weightsOf(path!), '--network', text])).rejects.toThrow(refused('notes.safetensors: is not JSON'));
    await expect(run([weightsOf(path!), '--network', join(folder, 'none.json')])).rejects.toThrow(
      refused('none.json: cannot read: no such file'),
    );
    await expect(run([weightsOf(path!), '--network', await write('list.json', '[]')])).rejects.toThrow(
      refused('list.json: holds no JSON object'),
    );
    await expect(run([weightsOf(path!), '--network', await write('bare.json', '{}')])).rejects.toThrow(
      refused('bare.json: there is no class'),
    );
    const half = await write('half.json', '{"class": "EDMPrecond", "init_kwargs": 3}');
    await expect(run([weightsOf(path!), '--network', half])).rejects.toThrow(refused('half.json: init_kwargs is 3'));
  });
  test('the command line', async () => {
    await expect(run([weightsOf(path!), '--network', path!, '--input', path!])).rejects.toThrow(
      refused('edm-ddpmpp.json is no .safetensors file'),
    );
    const { build, ...rest } = await load();
    const bare = { ...rest, build: (scope: Scope) => ({ network: build(scope).network }) };
    const tensors = new Map(Object.entries({ x: good.x, noise_labels: good.sigma }));
    await expect(forward(bare, tensors, { raw: true })).rejects.toThrow(
      refused('is not known without its preconditioning; leave --raw out'),
    );
  });
  test('class and arguments at the top level', async () => {
    const facts = JSON.parse(await readFile(path!, 'utf8')) as { init_kwargs: unknown };
    await run([
      weightsOf(path!),
      '--network',
      await write('net.json', JSON.stringify({ class: 'EDMPrecond', init_kwargs: facts.init_kwargs })),
    ]);
    const got = await readSafetensors(join(folder, 'out.safetensors'));
    const want = await forward(await load(), new Map(Object.entries(good)));
    expect(got.tensors.get('D')!.bytes).toEqual(want.get('D')!.bytes);
  });
});

describe('a model that carries its own description', () => {
  test('gives D as its generator does in one step: from its run folder, and without --network', async () => {
    const run = await writeTinyRun(join(folder, 'run'), { levels: [5] });
    const files = { input: join(folder, 'run.in.safetensors'), output: join(folder, 'run.out.safetensors') };
    const noise = sampleNoise([3, 1, 28, 28], 9, 0, 0).data as Float32Array;
    const labels = [4, 0, 7];
    await writeSafetensors(files.input, {
      x: fromFloat32(
        noise.map((v) => 5 * v),
        [3, 1, 28, 28],
      ),
      sigma: stored([], () => 5),
      class_labels: stored([3, 10], (i) => (i % 10 === labels[Math.floor(i / 10)] ? 1 : 0)),
      'cotangent.D': stored([3, 1, 28, 28]),
    });
    await forwardCommand().parseAsync([run, '--input', files.input, '--output', files.output], { from: 'user' });
    const { tensors } = await readSafetensors(files.output);
    const generator = openGenerator(await loadModel(run), { threads: 1 });
    const wanted = await generator.generate({ labels, n: 3, seed: 9 });
    await generator.close();
    const found = toFloat32(tensors.get('D')!);
    expect(Math.max(...wanted.map((v, i) => Math.abs(v - found[i]!)))).toBeLessThan(1e-4); // float32
    expect([...tensors.keys()]).toEqual(expect.arrayContaining(['grad.x', 'grad.sigma', 'grad.class_labels']));
  });
});

const SNAPSHOTS = [
  ['edm-ddpmpp', 'augmented'],
  ['edm-ncsnpp', 'denoise'],
  ['vp-ddpmpp', 'raw'],
  ['iddpm-adm', 'denoise'],
] as const;
test.skipIf(!SNAPSHOTS.every(([name]) => goldenPath(`edm/${name}.pkl`))).each(SNAPSHOTS)(
  'the snapshot %s.pkl gives the same as its weights and their description: %s',
  async (name, which) => {
    const path = goldenPath(`edm/${name}.json`)!;
    const { facts, tensors } = await readGolden(path);
    const { given } = filesOf(tensors, facts.cases.find((c) => c.name === which)!);
    const files = ['in', 'pkl', 'both'].map((part) => join(folder, `${name}-${which}.${part}.safetensors`)) as [string, string, string];
    await writeSafetensors(files[0], given);
    const raw = which === 'raw' ? ['--raw'] : [];
    const run = (model: readonly string[], output: string) =>
      forwardCommand().parseAsync([...model, '--input', files[0], '--output', output, ...raw], { from: 'user' });
    await run([goldenPath(`edm/${name}.pkl`)!], files[1]);
    await run([weightsOf(path), '--network', path], files[2]);
    const [a, b] = [(await readSafetensors(files[1])).tensors, (await readSafetensors(files[2])).tensors];
    expect([...a.keys()].sort()).toEqual([...b.keys()].sort());
    for (const [key, { bytes }] of a) expect([key, Buffer.compare(bytes, b.get(key)!.bytes)]).toEqual([key, 0]);
    await expect(run([goldenPath(`edm/${name}.pkl`)!, '--network', path], files[1])).rejects.toThrow(
      'says which network it is; leave --network out',
    );
  },
);
