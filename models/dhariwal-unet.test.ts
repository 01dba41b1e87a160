/** @file The UNet of ADM against NVlabs/edm: outputs, gradients and the gradient of every parameter; levels of iDDPM; sizes. */
import { describe, expect, test } from 'vitest';
import { input } from '../engine/graph/ops/leaf.ts';
import { reshape } from '../engine/graph/ops/movement.ts';
import { evaluate } from '../engine/graph/reference.ts';
import { toFloat32, toFloat64 } from '../engine/io/safetensors.ts';
import { goldenPath } from '../engine/testing/golden.ts';
import { resolve } from '../engine/train/options.ts';
import { recordingScope } from '../engine/train/weights.ts';
import { type DhariwalBlockShape, dhariwalBlock, dhariwalUNetFamily, dhariwalUNetOptions } from './dhariwal-unet.ts';
import { edmModel } from './edm.ts';
import { iddpmLevels, nearestInTable } from './precondition-table.ts';
import { type CaseOptions, type Forward, mismatches, readFacts, readGolden, readWeights } from './testing/golden.ts';

interface Checkpoint {
  readonly made_by: { readonly class: string };
  readonly init_kwargs: Readonly<Record<string, unknown>>;
  readonly round_sigma: { readonly sigma: string; readonly index: string; readonly rounded: string };
}
const forwardOf = (facts: Checkpoint): Forward => {
  const model = edmModel(facts.made_by.class, facts.init_kwargs);
  return (scope, { x, sigma, noise_labels: noise, class_labels: label, augment_labels: augment }) => {
    const { network, raw } = model.build(scope);
    const condition = { ...(label ? { label } : {}), ...(augment ? { augment } : {}) };
    if (!sigma) {
      if (facts.made_by.class === 'iDDPMPrecond') scope.buffer('u', [1001], { kind: 'constant', value: 0 }); // not used without preconditioning
      return raw(x!, noise!, condition).output;
    }
    return network.denoise(x!, reshape(sigma, [sigma.shape[0]!, 1, 1, 1]), condition);
  };
};
async function compare(path: string, which: string, options: Omit<CaseOptions, 'weights'>): Promise<string[]> {
  const golden = await readGolden<Checkpoint>(path);
  const weights = await readWeights(path.replace('.json', '.weights.safetensors'));
  return mismatches(golden, golden.facts.cases.find((c) => c.name === which)!, forwardOf(golden.facts), { weights, ...options });
}

describe.each(['edm-adm', 'iddpm-adm'])('%s', (name) => {
  const path = goldenPath(`edm/${name}.json`);
  const cases = path ? readFacts<Checkpoint>(path).cases : [];
  test.skipIf(!path).each(cases.map((c) => c.name))('%s agrees', async (which) => {
    expect(await compare(path!, which, {})).toEqual([]);
  });
});

const stored = goldenPath('edm/iddpm-adm.json');
test.skipIf(!stored)('in float64', async () => {
  expect(await compare(stored!, 'denoise', { exact: true })).toEqual([]);
});

test.skipIf(!stored)('levels are those of the checkpoint, and σ is rounded to the nearest', async () => {
  const { facts, tensors } = await readGolden<Checkpoint>(stored!);
  const weights = await readWeights(stored!.replace('.json', '.weights.safetensors'));
  const table = weights.get('u')!.data;
  const formula = iddpmLevels().toReversed();
  // The checkpoint adds up a thousand levels in float32.
  expect(Math.max(...formula.map((v, i) => Math.abs(v - table[i]!) / (table[i]! + 1e-3)))).toBeLessThan(2e-3);
  const sigma = toFloat64(tensors.get(facts.round_sigma.sigma)!);
  const [index] = evaluate([nearestInTable(input('sigma', [sigma.length]), input('u', [table.length]))], {
    sigma,
    u: Float64Array.from(table),
  });
  expect([...index!.data]).toEqual([...toFloat64(tensors.get(facts.round_sigma.index)!)]);
  const rounded = toFloat32(tensors.get(facts.round_sigma.rounded)!);
  expect([...index!.data].map((i) => table[i]!)).toEqual([...rounded]);
});

describe('single blocks', () => {
  const path = goldenPath('edm/layers.json');
  const LAYERS: Readonly<Record<string, DhariwalBlockShape>> = {
    heads4: { out: 16, attention: true, heads: 4 },
    up_adm: { out: 8, way: 'up' },
    down_adm: { out: 8, way: 'down' },
  };
  test.skipIf(!path).each(Object.keys(LAYERS))('%s agrees', async (which) => {
    const golden = await readGolden(path!);
    const weights = new Map(
      [...golden.tensors]
        .filter(([name]) => name.startsWith(`${which}.param.`))
        .map(([name, t]) => [name.slice(`${which}.param.`.length), { shape: t.shape, data: toFloat32(t) }]),
    );
    const out = golden.tensors.get(`${which}.out.y`)!.shape[1]!;
    const shape = { ...LAYERS[which]!, out };
    const test = golden.facts.cases.find((c) => c.name === which)!;
    expect(
      await mismatches(golden, test, (scope, { x, emb }) => dhariwalBlock(scope, x!, emb!, shape), { weights, partial: true }),
    ).toEqual([]);
  });
});

test('the published ImageNet ADM has 296 million parameters', () => {
  // Karras et al. 2022, table 7 (ADM, ImageNet-64): 296 million.
  const { scope, declared } = recordingScope('net');
  const { network } = edmModel('EDMPrecond', {
    img_resolution: 64,
    img_channels: 3,
    label_dim: 1000,
    model_channels: 192,
    channel_mult: [1, 2, 3, 4],
  }).build(scope);
  network.denoise(input('x', [1, 3, 64, 64]), input('sigma', [1, 1, 1, 1]));
  const count = [...declared.values()].filter((d) => d.trained).reduce((n, d) => n + d.shape.reduce((a, b) => a * b, 1), 0);
  expect(Math.round(count / 1e6)).toBe(296);
});

test.each([
  [{ channels: 5 }, [3, 8, 8], 'dhariwal-unet: the noise embedding takes an even width, got channels 5'],
  [{ channels: 8, multipliers: [1, 2] }, [3, 7, 8], 'dhariwal-unet: 2 levels need a height and width divisible by 2, got 7x8'],
  [{ channels: 8, multipliers: [1] }, [3], 'dhariwal-unet: samples [3] are not images'],
  [{ channels: 34, multipliers: [1] }, [3, 8, 8], '34 channels do not split into 8 groups'],
])('%j on %j is refused', (values, shape, message) => {
  const { scope } = recordingScope('net');
  expect(() =>
    dhariwalUNetFamily
      .build(scope, resolve('x', dhariwalUNetOptions, values), { shape, classes: 0 })
      .denoise(input('x', [1, 3, 8, 8]), input('s', [1, 1, 1, 1])),
  ).toThrow(message);
});
