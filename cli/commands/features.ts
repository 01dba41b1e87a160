/** @file `onestep features`: the features of a set of images, stored for later comparisons. */
import { Command } from 'commander';
import { InputError } from '../../engine/io/errors.ts';
import { writeStatistics } from '../../eval/features/statistics.ts';
import { writeFeatures } from '../../eval/features/stored.ts';
import type { FeatureSet } from '../../eval/metric.ts';
import { momentsFast } from '../../eval/moments-fast.ts';
import { type Group, valuesOf } from '../config.ts';
import { addFlags, gather } from '../flags.ts';
import { clearProgress, notice, say } from '../output.ts';
import { interruptedFeatures, showExtraction } from '../show.ts';
import { asFeatureSet, extractorFor, openExtracting } from '../work/extracting.ts';
import { checkWritable } from '../work/sample-files.ts';
import { featureGroup, featuresGroup } from '../work/side-options.ts';
import { openSide } from '../work/sides.ts';
import { drawing } from '../work/source.ts';

const GROUPS: readonly Group[] = [featuresGroup as Group, featureGroup as Group, drawing as Group];

export function featuresCommand(): Command {
  const command = new Command('features')
    .description('compute the features of images and store them, for comparisons by onestep evaluate')
    .argument('<images>', 'a folder, an archive, a table or an array of images, a data set (digits#test), a student or a run folder')
    .requiredOption('--out <file>', 'where to write them (.safetensors); .npz: their mean and covariance, as pytorch-fid reads them')
    .option('--json', 'print one JSON object');
  addFlags(command, GROUPS);
  return command.action(async (images: string) => {
    const { flat, own } = await gather(command, GROUPS, ['out', 'json']);
    const out = String(own['out']);
    if (!/\.(safetensors|npz)$/.test(out)) throw new InputError(`out: ${out} is no .safetensors or .npz file; give one`);
    await checkWritable(out);
    const { n } = valuesOf(featuresGroup, flat);
    const json = own['json'] === true;
    const { unreadable } = valuesOf(featureGroup, flat);
    const extracting = openExtracting(flat, {
      signal: interruptedFeatures(),
      ...(json ? {} : { onProgress: showExtraction() }),
    });
    try {
      const side = await openSide(images, { flat, skip: unreadable === 'skip', n: n === 0 ? null : n });
      if (side.kind !== 'images') throw new InputError(`features: ${images} holds features already; give images`);
      const set = await extracting.extract(side, await extractorFor(flat, [side])).finally(() => side.source.close());
      await store(out, asFeatureSet(side.name, set), { images: side.name, resize: set.facts.resize });
      clearProgress();
      const { name, checksum, dimensions, resize } = set.facts;
      const facts = {
        kind: 'features',
        images: side.name,
        n: set.n,
        cached: set.cached,
        extractor: { name, sha256: checksum, dimensions, resize },
        out,
      };
      const notes = [set.facts.note, extracting.cache?.problem() ?? undefined].filter((note) => note !== undefined);
      if (json) say(JSON.stringify({ ...facts, left: set.left.map(({ why }) => why), warnings: notes }));
      else {
        say(`${set.n} images of ${side.name}: ${dimensions} features each (${name}, SHA-256 ${checksum}, resized by ${resize}) in ${out}`);
        for (const { why } of set.left) say(`left out: ${why}`);
        for (const note of notes) notice(`note: ${note}`);
      }
    } finally {
      await extracting.close();
    }
  });
}

/** Features, or the statistics of them. */
async function store(out: string, set: FeatureSet, facts: Readonly<Record<string, string>>): Promise<void> {
  if (out.endsWith('.safetensors')) return writeFeatures(out, set, facts);
  if (set.n! < 2) throw new InputError(`out: ${set.n} image has no covariance; give at least 2 images`);
  return writeStatistics(out, await momentsFast(set.features!, set.dimensions), set.extractor);
}
