/** @file Checkpoints: bit-exact round trips, damage, refused writes, killed processes, and what is kept. */
import { spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { InputError } from '../io/errors.ts';
import { fileFailure } from '../io/failures.ts';
import * as safetensors from '../io/safetensors.ts';
import { gaussianBatch, mlp, type Toy, toyTrainer } from '../testing/toy.ts';
import {
  type CheckpointContent,
  keepLast,
  latestCheckpoint,
  listCheckpoints,
  loadCheckpoint,
  loadWeights,
  readFacts,
  removeDebris,
  saveCheckpoint,
} from './checkpoint.ts';
import type { Snapshot } from './trainer.ts';
import type { Layout, Weights } from './weights.ts';

vi.mock('../io/safetensors.ts', async (original) => {
  const actual = await original<typeof safetensors>();
  return { ...actual, writeSafetensors: vi.fn(actual.writeSafetensors) };
});

let run: string;
beforeEach(() => {
  run = mkdtempSync(join(tmpdir(), 'checkpoint-'));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(run, { recursive: true });
});

const bits = (v: Float32Array): Uint32Array => new Uint32Array(v.slice().buffer);
const bitsOf = ({ vectors, ...rest }: Snapshot) => ({
  ...rest,
  vectors: Object.fromEntries(Object.entries(vectors).map(([k, v]) => [k, bits(v)])),
});
const inFolder = (): string[] => readdirSync(join(run, 'checkpoints')).sort();

/** A checkpoint without a trainer: weights 1 … 6 of two tensors and a buffer. */
const LAYOUT: Layout = [
  { name: 'out.weight', shape: [2, 2], offset: 0 },
  { name: 'in.bias', shape: [2], offset: 4 },
];
const fixed = { student: new Map([['scale', { shape: [], data: Float32Array.of(7) }]]) };
const content = (step: number, more: Readonly<Record<string, Float32Array>> = {}): CheckpointContent => ({
  snapshot: {
    step,
    nimg: step * 8,
    skipped: 1,
    updates: { student: step - 1 },
    vectors: { student: Float32Array.of(1, 2, 3, 4, 5, step), 'student/m': new Float32Array(6).fill(0.5), ...more },
  },
  trainer: { layouts: { student: LAYOUT }, fixed },
  meta: { method: 'toy', options: { a: [1, 2] } },
});
const plain = (weights: Weights): Record<string, number[]> => Object.fromEntries([...weights].map(([name, w]) => [name, [...w.data]]));

describe('a round trip', () => {
  const toy: Toy = { averages: ['constant:0.9', 'halflife:0.05:0'], clip: 1 };

  test('goes on with the same bits as a run that never stopped', async () => {
    const whole = await toyTrainer(toy);
    await whole.run({ until: 7, batch: gaussianBatch(8) });
    const first = await toyTrainer(toy);
    await first.run({ until: 3, batch: gaussianBatch(8) });
    const snapshot = await first.snapshot();
    const path = await saveCheckpoint(run, { snapshot, trainer: first, meta: { method: 'denoising' } });
    expect(path).toBe(join(run, 'checkpoints', 'step-0000003'));

    const second = await toyTrainer(toy);
    const checkpoint = await loadCheckpoint(path, second.layouts);
    expect(bitsOf(checkpoint.snapshot)).toEqual(bitsOf(snapshot));
    expect(bitsOf((await loadCheckpoint(path)).snapshot)).toEqual(bitsOf(snapshot));
    expect(checkpoint.meta).toEqual({ method: 'denoising' });
    await second.restore(checkpoint.snapshot);
    await second.run({ until: 7, batch: gaussianBatch(8) });
    expect(bitsOf(await second.snapshot())).toEqual(bitsOf(await whole.snapshot()));
    for (const trainer of [whole, first, second]) await trainer.close();
  });

  test('keeps the bits of negative zeros, subnormals and what is not finite', async () => {
    const odd = Float32Array.of(-0, 1e-45, Number.NaN, Number.POSITIVE_INFINITY, -1e-40, 3);
    const path = await saveCheckpoint(run, content(1, { student: odd, 'student/v': odd }));
    expect(bitsOf((await loadCheckpoint(path)).snapshot)).toEqual(bitsOf(content(1, { student: odd, 'student/v': odd }).snapshot));
  });

  test('weights are files by themselves: by name, in their shapes, with buffers', async () => {
    const trainer = await toyTrainer(toy);
    await trainer.run({ until: 2, batch: gaussianBatch(8) });
    const path = await saveCheckpoint(run, { snapshot: await trainer.snapshot(), trainer, meta: {} });
    expect(readdirSync(path).sort()).toEqual([
      'checkpoint.json',
      'manifest.json',
      'optimizer.safetensors',
      'student.average-constant-0.9.safetensors',
      'student.average-halflife-0.05-0.safetensors',
      'student.safetensors',
    ]);
    const { tensors, metadata } = await safetensors.readSafetensors(join(path, 'student.average-constant-0.9.safetensors'));
    expect(metadata).toEqual({ format: 'pt', player: 'student', step: '2', nimg: '16', average: 'constant:0.9' });
    expect(tensors.get('in.weight')!.shape).toEqual([8, 2]);
    for (const average of [undefined, 'constant:0.9', 'halflife:0.05:0']) {
      const [loaded, expected] = [await loadWeights(path, 'student', average), await trainer.weights('student', average)];
      expect([...loaded.keys()].sort()).toEqual(['centre', 'in.bias', 'in.weight', 'out.bias', 'out.weight', 'skip']);
      expect(plain(loaded)).toEqual(plain(expected));
    }
    await expect(loadWeights(path, 'fake')).rejects.toThrow(/no player fake; it has student$/);
    await expect(loadWeights(path, 'student', 'power:0.1')).rejects.toThrow(
      /no average power:0.1 of student; it has constant:0.9, halflife:0.05:0$/,
    );
    await trainer.close();
  });

  test('weights find their places by name where the order of the network has changed', async () => {
    const path = await saveCheckpoint(run, content(9));
    const turned: Layout = [
      { name: 'in.bias', shape: [2], offset: 0 },
      { name: 'out.weight', shape: [2, 2], offset: 2 },
    ];
    expect([...(await loadCheckpoint(path, { student: turned })).snapshot.vectors['student']!]).toEqual([5, 9, 1, 2, 3, 4]);
  });

  test('another network is refused by the name of the first weight', async () => {
    const trainer = await toyTrainer();
    const path = await saveCheckpoint(run, { snapshot: await trainer.snapshot(), trainer, meta: {} });
    const other = await toyTrainer({ networks: { student: mlp(9) } });
    await expect(loadCheckpoint(path, other.layouts)).rejects.toThrow(
      /student\.safetensors: in\.weight should be \[9,2\], but is \[8,2\]; was the run made with another network\?$/,
    );
    await trainer.close();
    await other.close();
  });

  test('the facts are readable without the weights', async () => {
    const path = await saveCheckpoint(run, content(12));
    expect(await readFacts(path)).toMatchObject({
      format: 1,
      step: 12,
      nimg: 96,
      skipped: 1,
      updates: { student: 11 },
      meta: { method: 'toy', options: { a: [1, 2] } },
    });
  });
});

describe('damage', () => {
  const save = async (...steps: number[]): Promise<string[]> => {
    const paths: string[] = [];
    for (const step of steps) paths.push(await saveCheckpoint(run, content(step)));
    return paths;
  };
  const flip = (path: string): void => {
    const bytes = readFileSync(path);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(path, bytes);
  };
  const damages: readonly (readonly [string, (path: string) => void, RegExp])[] = [
    ['a truncated file', (p) => truncateSync(join(p, 'student.safetensors'), 100), /student\.safetensors: truncated: 100 bytes/],
    ['a changed bit', (p) => flip(join(p, 'optimizer.safetensors')), /optimizer\.safetensors: changed: its SHA-256/],
    ['a missing file', (p) => rmSync(join(p, 'checkpoint.json')), /checkpoint\.json: missing; the manifest lists it/],
    ['a missing manifest', (p) => rmSync(join(p, 'manifest.json')), /manifest\.json: cannot read: no such file/],
    ['half a manifest', (p) => truncateSync(join(p, 'manifest.json'), 20), /manifest\.json: not JSON; the manifest is damaged/],
  ];

  test.each(damages)('%s names the file, and the checkpoint before it is used', async (_, damage, words) => {
    const paths = await save(1, 2, 3);
    damage(paths[2]!);
    await expect(loadCheckpoint(paths[2]!)).rejects.toThrow(InputError);
    await expect(loadCheckpoint(paths[2]!)).rejects.toThrow(words);
    const latest = await latestCheckpoint(run);
    expect(latest).toMatchObject({ path: paths[1], step: 2, skipped: [{ path: paths[2] }] });
    expect(latest!.skipped[0]!.reason).toMatch(words);
  });

  test('of all of them is told, not passed over as an empty run', async () => {
    for (const path of await save(1, 2)) flip(join(path, 'student.safetensors'));
    await expect(latestCheckpoint(run)).rejects.toThrow(
      /checkpoints: all 2 checkpoints are damaged \(.*step-0000002.*changed.*\); remove the folder to start again$/,
    );
  });

  test.each([
    ['{', /checkpoint\.json: not JSON/],
    ['null', /checkpoint\.json: .*damaged$/],
    ['{"format": 2}', /checkpoint\.json: format 2 is newer than this version reads \(1\); update onestep$/],
    ['{"format": 1, "step": -1}', /checkpoint\.json: step: .*damaged$/],
    [
      '{"format":1,"step":1,"nimg":1,"skipped":0,"updates":{},"meta":{},"players":{"a":{"weights":"../a","averages":{},"slots":[],"order":[]}}}',
      /players\.a\.weights/,
    ],
  ])('facts that read %s', async (text, words) => {
    writeFileSync(join(run, 'checkpoint.json'), text);
    await expect(readFacts(run)).rejects.toThrow(InputError);
    await expect(readFacts(run)).rejects.toThrow(words);
  });
});

describe('refused writes', () => {
  test('a full disk: one line, the earlier checkpoint stays, nothing of the new one does', async () => {
    await saveCheckpoint(run, content(1));
    const full = Object.assign(new Error('write failed'), { code: 'ENOSPC' });
    vi.mocked(safetensors.writeSafetensors).mockImplementationOnce(async (path) => {
      writeFileSync(path, 'the first half');
      throw fileFailure('write', path, full);
    });
    const failed = saveCheckpoint(run, content(2));
    await expect(failed).rejects.toThrow(InputError);
    await expect(failed).rejects.toThrow(
      /^checkpoint: step 2 was not saved, earlier ones are as they were: .*student\.safetensors: cannot write: no space left on the device.*\(ENOSPC\)$/,
    );
    expect(inFolder()).toEqual(['step-0000001']);
    expect((await loadCheckpoint(join(run, 'checkpoints/step-0000001'))).step).toBe(1);
    await saveCheckpoint(run, content(2)); // there is space again
    expect((await latestCheckpoint(run))!.step).toBe(2);
  });

  test('a file in the folder’s place', async () => {
    writeFileSync(join(run, 'checkpoints'), '');
    await expect(saveCheckpoint(run, content(1))).rejects.toThrow(
      /^checkpoint: step 1 was not saved, .*checkpoints: cannot write: exists already \(EEXIST\)$/,
    );
    await expect(listCheckpoints(run)).rejects.toThrow(/checkpoints: cannot read: a part of the path is a file/);
  });

  test('our own mistakes are not told as the user’s', async () => {
    const two = {
      layouts: { student: LAYOUT, 'student.average-a': LAYOUT },
      fixed: { student: new Map(), 'student.average-a': new Map() },
    };
    const vectors = { ...content(1).snapshot.vectors, 'student/average/a': new Float32Array(6), 'student.average-a': new Float32Array(6) };
    const clash = saveCheckpoint(run, { snapshot: { ...content(1).snapshot, vectors }, trainer: two, meta: {} });
    await expect(clash).rejects.toThrow(/^internal: two of/);
    expect(inFolder()).toEqual([]);
  });
});

describe('an interrupted save', () => {
  test('leaves the previous checkpoint, and its debris goes at the next start', async () => {
    const path = await saveCheckpoint(run, content(1));
    cpSync(path, join(run, 'checkpoints', '.step-0000002-77-00ff00ff.tmp'), { recursive: true });
    expect((await listCheckpoints(run)).map(({ step }) => step)).toEqual([1]);
    expect((await latestCheckpoint(run))!.step).toBe(1);
    expect(inFolder()).toHaveLength(2); // looking removes nothing: another process may be writing
    expect(await removeDebris(run)).toEqual(['.step-0000002-77-00ff00ff.tmp']);
    expect(inFolder()).toEqual(['step-0000001']);
    expect(await removeDebris(run)).toEqual([]);
    expect(await removeDebris(join(run, 'none'))).toEqual([]);
  });

  test('between the two renames of a replacement brings the old one back', async () => {
    const path = await saveCheckpoint(run, content(4));
    const old = join(run, 'checkpoints', '.step-0000004.replaced');
    renameSync(path, old);
    await removeDebris(run);
    expect((await latestCheckpoint(run))!.path).toBe(path);
    cpSync(path, old, { recursive: true });
    await removeDebris(run); // both are there: the new one counts
    expect(inFolder()).toEqual(['step-0000004']);
  });

  test('a killed process leaves only whole checkpoints', async () => {
    const child = spawn(process.execPath, ['--import', 'tsx', join(import.meta.dirname, '../testing/save-forever.ts'), run], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = new Promise((done) => child.once('exit', (_, signal) => done(signal)));
    await new Promise((done) => child.stdout.once('data', done));
    await new Promise((done) => setTimeout(done, 150 + Math.random() * 100)); // within some save
    child.kill('SIGKILL');
    expect(await ended).toBe('SIGKILL');
    const places = await listCheckpoints(run);
    expect(places.length).toBeGreaterThan(0);
    for (const { path, step } of places) expect((await loadCheckpoint(path)).step).toBe(step);
    expect((await latestCheckpoint(run))!.skipped).toEqual([]);
    await removeDebris(run);
    expect(inFolder().every((name) => name.startsWith('step-'))).toBe(true);
  });

  test('the same step may be saved again', async () => {
    await saveCheckpoint(run, content(1));
    const path = await saveCheckpoint(run, content(1, { student: new Float32Array(6).fill(9) }));
    expect([...(await loadCheckpoint(path)).snapshot.vectors['student']!]).toEqual([9, 9, 9, 9, 9, 9]);
    expect(inFolder()).toEqual(['step-0000001']);
  });
});

describe('which are kept', () => {
  test('a run without checkpoints has none', async () => {
    expect(await listCheckpoints(run)).toEqual([]);
    expect(await latestCheckpoint(run)).toBeUndefined();
    expect(await keepLast(run, 1)).toEqual([]);
  });

  test('they are ordered by step, also beyond seven digits; other names are not ours', async () => {
    for (const step of [10, 9, 12_345_678]) await saveCheckpoint(run, content(step));
    mkdirSync(join(run, 'checkpoints', 'step-best'));
    expect((await listCheckpoints(run)).map(({ step }) => step)).toEqual([9, 10, 12_345_678]);
  });

  test('the last ones', async () => {
    for (const step of [1, 2, 3, 4]) await saveCheckpoint(run, content(step));
    expect((await keepLast(run, 2)).map(({ step }) => step)).toEqual([1, 2]);
    expect(inFolder()).toEqual(['step-0000003', 'step-0000004']);
    expect(await keepLast(run, 5)).toEqual([]);
    await expect(keepLast(run, 0)).rejects.toThrow(RangeError);
  });

  test('those that are spared stay beside them', async () => {
    for (const step of [1, 2, 3, 4]) await saveCheckpoint(run, content(step));
    expect((await keepLast(run, 1, [2])).map(({ step }) => step)).toEqual([1, 3]);
    expect(inFolder()).toEqual(['step-0000002', 'step-0000004']);
    expect(await keepLast(run, 1, [4, 2])).toEqual([]);
    expect((await keepLast(run, 1)).map(({ step }) => step)).toEqual([2]);
  });

  test('the one written last stays even where a damaged one has a higher step', async () => {
    const [low, high] = [await saveCheckpoint(run, content(1)), await saveCheckpoint(run, content(5))];
    for (const path of [low, high]) utimesSync(join(path, 'manifest.json'), 1e9, 1e9); // written long ago
    truncateSync(join(high, 'student.safetensors'), 10);
    const resumed = await saveCheckpoint(run, content(3));
    expect((await keepLast(run, 1)).map(({ step }) => step)).toEqual([1, 5]);
    expect(existsSync(resumed)).toBe(true);
  });
});
