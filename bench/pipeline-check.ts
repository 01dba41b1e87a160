/**
 * @file Writes a student as a pipeline of diffusers, with noise and our own samples of it for PyTorch to check: `npx tsx bench/pipeline-check.ts FOLDER MODEL`. MODEL is a
 * distilled run folder or weights file, or a teacher of diffusers, which is taken as if it had been distilled to `--levels 14.6,2` or to its highest level.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { EXPORTERS } from '../cli/work/export-files.ts';
import { schedulerFor } from '../cli/work/export-pipeline.ts';
import { sampleDraw } from '../cli/work/feeds.ts';
import { loadModel, type Model } from '../cli/work/model.ts';
import { textTable } from '../cli/work/prompts.ts';
import { openTrajectories } from '../cli/work/trajectory.ts';
import { fillNormal, streamKey } from '../engine/random/philox.ts';
import { nullName } from '../models/foreign/diffusers/family.ts';
import { sampler } from '../samplers/index.ts';
import { type Shared, writeExchange } from './exchange.ts';

const BATCH = 2;
const SEED = 0;
const PROMPTS = ['a red hat', 'blue eyes'];
const { positionals, values } = parseArgs({ allowPositionals: true, options: { levels: { type: 'string' }, noise: { type: 'string' } } });
const [folder, source] = positionals;
if (!folder || !source) {
  process.stderr.write('pipeline-check: npx tsx bench/pipeline-check.ts FOLDER MODEL [--levels 14.6,2] [--noise implied]\n');
  process.exit(2);
}
const loaded = await loadModel(source);
const levels = values.levels?.split(',').map(Number) ?? loaded.card.levels ?? [loaded.card.schedule.sigmaMax];
const noise = values.noise === 'implied' ? 'implied' : (loaded.card.noise ?? 'fresh');
const model: Model = { ...loaded, card: { ...loaded.card, levels, noise, method: 'check' } };
const { comparison } = await EXPORTERS.diffusers({ model, out: folder, storage: 'float32', check: true, snippets: true });

// What the scheduler steps through: the levels themselves, or the nearest of its table.
const [, side] = model.card.sample.shape;
const pipeline = await loadModel(`${folder}:size=${side}`);
const chosen = schedulerFor(model);
const { shape, classes } = pipeline.card.sample;
const size = shape.reduce((a, b) => a * b, 1);
const start = new Float32Array(BATCH * size);
fillNormal(start, streamKey(SEED, 0, 'check'), size);
const conditions = pipeline.card.text ? { conditions: await textTable(pipeline, PROMPTS) } : {};
const walk = openTrajectories(pipeline, sampler('student', { noise }), { threads: 1 });
const { x } = await walk.walk({
  levels: chosen.levels,
  start: start.map((v) => v * chosen.levels[0]!),
  labels: classes > 0 ? Int32Array.from({ length: BATCH }, (_, i) => i % classes) : null,
  ...conditions,
  seed: SEED,
  first: 0,
  count: BATCH,
});
await walk.close();
const tensors: Record<string, Shared> = {
  noise: { shape: [BATCH, ...shape], data: start },
  latents: { shape: [BATCH, ...shape], data: x },
};
for (let i = 1; i < levels.length; i++) {
  const { data } = sampleDraw('normal', 'fresh', [BATCH, ...shape], SEED, i, 0);
  tensors[`noise${i}`] = { shape: [BATCH, ...shape], data: data as Float32Array };
}
await writeExchange(folder, tensors);
const facts = {
  prompts: pipeline.card.text ? PROMPTS : null,
  classes,
  guidance: pipeline.weights.get(nullName('guidance'))?.data[0] ?? 1,
  call: chosen.call,
  top: chosen.levels[0],
  eta: chosen.config['_class_name'] === 'TCDScheduler',
};
await writeFile(join(folder, 'check.json'), JSON.stringify(facts));
console.log(JSON.stringify({ folder, model: source, scheduler: chosen.config['_class_name'], ...comparison }));
