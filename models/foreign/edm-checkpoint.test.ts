/** @file Snapshots of NVlabs/edm: class, arguments and weights out of their pickles, which are not executed. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { goldenPath } from '../../engine/testing/golden.ts';
import { readFacts, readWeights } from '../testing/golden.ts';
import { loadEdm } from './edm-checkpoint.ts';

interface Facts {
  readonly made_by: { readonly class: string };
  readonly init_kwargs: Readonly<Record<string, unknown>>;
}
const scratch = mkdtempSync(join(tmpdir(), 'edm-'));
afterAll(() => rmSync(scratch, { recursive: true }));
const NAMES = ['edm-ddpmpp', 'edm-ncsnpp', 'vp-ddpmpp', 've-ncsnpp', 'iddpm-adm'];

test.skipIf(!NAMES.every((name) => goldenPath(`edm/${name}.pkl`))).each(NAMES)('%s', async (name) => {
  const facts = readFacts<Facts>(goldenPath(`edm/${name}.json`)!);
  const { className, kwargs, weights, model } = await loadEdm(goldenPath(`edm/${name}.pkl`)!);
  expect([className, kwargs]).toEqual([facts.made_by.class, facts.init_kwargs]);
  expect(model.sample.shape).toEqual([
    facts.init_kwargs['img_channels'],
    facts.init_kwargs['img_resolution'],
    facts.init_kwargs['img_resolution'],
  ]);
  const want = await readWeights(goldenPath(`edm/${name}.weights.safetensors`)!);
  expect([...weights.keys()].sort()).toEqual([...want.keys()].sort());
  // Parameters were rounded to float16 before the snapshot was written: either file holds them exactly.
  for (const [key, { shape, data }] of want) expect([key, weights.get(key)!.shape, weights.get(key)!.data]).toEqual([key, shape, data]);
});

const pkl = goldenPath('edm/edm-ddpmpp.pkl');
describe.skipIf(!pkl)('what is refused', () => {
  const changed = (from: string, to: string): string => {
    const path = join(scratch, `${from}.pkl`);
    const text = readFileSync(pkl!).toString('latin1');
    expect(text.includes(from) && from.length === to.length).toBe(true);
    writeFileSync(path, Buffer.from(text.replaceAll(from, to), 'latin1'));
    return path;
  };
  test.each([
    ['EDMPrecond', 'ABCPrecond', /ABCPrecond\.pkl|edm: class ABCPrecond is not supported/],
    ['model_channels', 'model_chanels_', /EDMPrecond: unknown arguments model_chanels_; it takes model_type/],
    ['map_layer0', 'map_layerX', /the weights do not fit the network: model\.map_layer0\.weight \[\d+,\d+\] is missing/],
    [
      '_reconstruct_persistent_obj',
      '_reconstruct_persistent_xyz',
      /the global torch_utils\.persistence\._reconstruct_persistent_xyz is refused/,
    ],
    ['_init_kwargs', '_init_xwargs', /EDMPrecond does not say with which arguments it was made/],
  ])('%s for %s', async (from, to, message) => {
    const refused = loadEdm(changed(from, to));
    await expect(refused).rejects.toThrow(message);
    await expect(refused).rejects.toThrow(expect.objectContaining({ name: 'InputError' }));
  });
  test('arbitrary damage ends in one line', async () => {
    const bytes = readFileSync(pkl!);
    let x = 5;
    const next = (below: number): number => {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      return (x >>> 0) % below;
    };
    const slips: unknown[] = [];
    for (let i = 0; i < 60; i++) {
      const broken = Buffer.from(bytes);
      for (let k = 0; k < 20; k++) broken[next(broken.length)] = next(256);
      const path = join(scratch, 'broken.pkl');
      writeFileSync(path, i % 4 === 0 ? broken.subarray(0, next(broken.length)) : broken);
      await loadEdm(path).catch((error: unknown) => (error instanceof Error && error.name === 'InputError') || slips.push(error));
    }
    expect(slips).toEqual([]);
  });
  test('a file without a network', async () => {
    const path = join(scratch, 'none.pkl');
    writeFileSync(path, Buffer.from('\x80\x02}.', 'latin1'));
    await expect(loadEdm(path)).rejects.toThrow(`${path}: no network in it; a snapshot of NVlabs/edm or edm2 holds one under 'ema'`);
  });
});
