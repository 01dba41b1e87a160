/** @file The packed package, installed into an empty folder: its commands run, its workers start, its types fit. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { builtPackage, type Finished, finished } from './cli/testing/package.ts';

const root = import.meta.dirname;
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const manifest = JSON.parse(read('package.json')) as { version: string; files: string[]; exports: object; dependencies: object };

describe('manifest', () => {
  test('the lock file names no host, and lacks no package that another one may want', () => {
    const lock = JSON.parse(read('package-lock.json')) as {
      packages: Record<string, { optionalDependencies?: object; resolved?: string }>;
    };
    expect(Object.entries(lock.packages).filter(([, { resolved }]) => resolved !== undefined)).toEqual([]);
    const missing = Object.entries(lock.packages).flatMap(([path, { optionalDependencies = {} }]) =>
      Object.keys(optionalDependencies)
        .filter((name) => !(`node_modules/${name}` in lock.packages) && !(`${path}/node_modules/${name}` in lock.packages))
        .map((name) => `${path} lacks ${name}`),
    );
    expect(missing).toEqual([]);
  });
});

const CONSUMER = `
import { defineLoss, frechetDistance, gradients, graph, input, type Loss, options, real, Tensor } from 'onestep';
const x: Tensor = input('x', [2]);
const y = x.add(1).mul(x).sum();
const slope: Tensor = gradients(y, [x])[0]!;
export const all: readonly Tensor[] = [slope.neg(), graph.silu(x), graph.matmul(x.reshape([1, 2]), x.reshape([2, 1]))];
const method = defineLoss({
  name: 'mine', title: '', reference: '', options: options({ weight: real(1, 'a weight') }), players: { student: 'fresh' },
  phases: { student: { trains: ['student'], terms: ({ nets, data, options: o }) => ({ loss: nets.student.denoise(data, data).mul(o.weight).mean() }) } },
});
export const anyLoss: Loss = method;
// @ts-expect-error there is no such method: a type that accepts everything would pass the lines above too
x.noSuchMethod();
// @ts-expect-error moments are no numbers
frechetDistance(1, 2);
`;
const PROGRAM = `
import { evaluate, findExtractor, input, loadDataset, memoryImages, openBatches, openPool } from 'onestep';
const x = input('x', [2]);
const [y] = evaluate([x.mul(x).sum()], { x: [3, 4] });
const { train } = await loadDataset('digits');
const batches = openBatches(train, { batchSize: 4, seed: 0, flip: false });
const batch = await batches.next(0);
await batches.close();
const pool = openPool({ threads: 1 });
const two = memoryImages('two digits', { images: train.images.subarray(0, 2 * 784), n: 2, shape: [1, 28, 28] });
const { features } = await pool.extract(two, await findExtractor('digits'));
await pool.close();
console.log(JSON.stringify({ y: y.data[0], batch: batch.images.length, features: features.length }));
`;

describe('installed from the tarball', () => {
  let folder: string;
  let packed: string;
  const onestep = (...args: string[]): Promise<Finished> => finished('npx', ['--no-install', 'onestep', ...args], folder);

  beforeAll(async () => {
    packed = builtPackage();
    folder = mkdtempSync(join(tmpdir(), 'onestep-consumer-'));
    const pack = await finished('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], packed);
    expect(pack.stderr + pack.stdout).toContain('.tgz');
    const tarball = readdirSync(folder).find((file) => file.endsWith('.tgz'))!;
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type: 'module' }));
    const install = ['install', `./${tarball}`, '--prefer-offline', '--no-audit', '--no-fund'];
    // The script fetches GPU libraries from another host; see .npmrc.
    const installed = await finished('npm', install, folder, { ONNXRUNTIME_NODE_INSTALL: 'skip' });
    expect(installed.code, installed.stderr).toBe(0);
  }, 300_000);
  afterAll(() => {
    for (const path of [folder, packed]) if (path) rmSync(path, { recursive: true, force: true });
  });

  test('holds what it should and nothing else', () => {
    const own = join(folder, 'node_modules/onestep');
    const files = readdirSync(own, { recursive: true, encoding: 'utf8' });
    expect(files.filter((file) => /\.test\.|(^|\/)(testing|scripts)(\/|$)/.test(file))).toEqual([]);
    expect(files.filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'))).toEqual([]);
    for (const needed of [
      'dist/cli/main.js',
      'dist/page/main.js',
      'dist/page/worker.js',
      'dist/data/batches.worker.js',
      'dist/data/folder.worker.js',
      'dist/eval/worker.js',
    ])
      expect(files).toContain(needed);
    for (const needed of ['artifacts/digits.br', 'artifacts/digits.LICENSE', 'configs/quickstart.json', 'README.md', 'LICENSE'])
      expect(files).toContain(needed);
    expect(readdirSync(join(folder, 'node_modules'))).not.toContain('@tensorflow');
  });
  test('onestep --version', async () => {
    expect(await onestep('--version')).toMatchObject({ code: 0, stdout: `${manifest.version}\n` });
  });
  test('onestep methods', async () => {
    const { code, stdout, stderr } = await onestep('methods');
    expect(code, stderr).toBe(0);
    expect(stdout).toContain('dmd2');
    expect(stdout).toContain('2405.14867');
  });
  test('onestep doctor --json', async () => {
    const { code, stdout, stderr } = await onestep('doctor', '--json');
    expect(code, stderr).toBe(0);
    expect(Object.keys(JSON.parse(stdout)).length).toBeGreaterThan(0);
  });
  test('a program imports it, and its worker threads start', async () => {
    writeFileSync(join(folder, 'program.mjs'), PROGRAM);
    const { code, stdout, stderr } = await finished(process.execPath, ['program.mjs'], folder);
    expect(code, stderr).toBe(0);
    // 3² + 4²; four digits of 784 pixels; two rows of 64 features.
    expect(JSON.parse(stdout)).toEqual({ y: 25, batch: 4 * 784, features: 2 * 64 });
  });
  test('its types fit a strict program', async () => {
    writeFileSync(join(folder, 'consumer.ts'), CONSUMER);
    const compilerOptions = {
      ...{ target: 'ES2023', module: 'NodeNext', moduleResolution: 'NodeNext', strict: true, noEmit: true, skipLibCheck: false },
      ...{ types: ['node'], typeRoots: [join(root, 'node_modules/@types')] },
    };
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['consumer.ts'] }));
    const { code, stdout } = await finished(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', '.'], folder);
    expect(stdout).toBe('');
    expect(code).toBe(0);
  });
});
