/** @file `onestep evaluate`: how good samples are, of a model or out of a folder of pictures. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { toBytes } from '../../data/bytes.ts';
import { shippedClassifiers } from '../../eval/features/shipped.ts';
import { NEIGHBOURS } from '../../eval/manifold/precision-recall.ts';
import { METRIC_NAMES, METRICS } from '../../eval/metrics/index.ts';
import { type Flat, type Group, valuesOf } from '../config.ts';
import { addFlags, gather, givenWords } from '../flags.ts';
import { say, short } from '../output.ts';
import { showPace } from '../show.ts';
import { clipOf, compareSets, isOfSets, type Keep } from '../work/compare-sets.ts';
import { drawSamples, labelsFor } from '../work/drawing.ts';
import {
  checkSamples,
  type Evaluation,
  evaluate,
  evaluationOptions,
  type Reference,
  referenceFor,
  type Samples,
  saveFeatures,
} from '../work/evaluating.ts';
import { commandLine, storeEvaluation } from '../work/evaluations.ts';
import { hybridGroup, openDrawn } from '../work/hybrid.ts';
import { metricGroup } from '../work/measuring.ts';
import { MODEL_FILE } from '../work/model.ts';
import { checkWritable, readSampleFolder } from '../work/sample-files.ts';
import { featureGroup, measureGroup } from '../work/side-options.ts';
import { drawing, samplerGroups } from '../work/source.ts';

const own: Group<typeof evaluationOptions> = { where: 'evaluate', schema: evaluationOptions };
const SETS: readonly Group[] = [measureGroup as Group, featureGroup as Group];
const DRAWN: readonly Group[] = [drawing as Group, hybridGroup as Group, ...samplerGroups];
// The first of a name counts: --clip of the first is a folder or the number of the second.
const GROUPS: readonly Group[] = [own as Group, ...SETS, ...DRAWN, ...METRICS.map(metricGroup)];
const HELP = `
Without --metrics samples of digits and Fashion-MNIST are measured by the classifiers that come with the package. With it, or with other images, either side is
a folder, an archive, a table or an array of images, a data set (digits#test), features (FILE.safetensors#NAME), statistics, a student or a run folder.
Metrics: ${METRIC_NAMES.join(', ')}; prdc means precision, recall, density and coverage.`;

/** Samples, where they come from, and how they were drawn. */
interface Given {
  readonly samples: Samples;
  readonly reference: Reference;
  readonly settings: Readonly<Record<string, string | number | null>>;
  readonly notes: readonly string[];
}

export function evaluateCommand(): Command {
  const command = new Command('evaluate')
    .description(
      'measure samples or sets of images: Fréchet distance, KID, precision, recall, CLIP score, class accuracy, nearest training images, …',
    )
    .argument(
      '<generated>',
      'as for sample; or a folder of .png files, named NNNNNN-CLASS.png where they have classes; or any set of images or features',
    )
    .option('--save <file>', 'store features, logits and classes of the samples (.safetensors)')
    .option('--json', 'print one JSON object')
    .addHelpText('after', HELP);
  addFlags(command, GROUPS);
  return command.action(async (model: string) => {
    const started = performance.now();
    const { flat, own: words } = await gather(command, GROUPS, ['save', 'json']);
    const keep: Keep = (evaluation) =>
      storeEvaluation(model, evaluation, { command: commandLine(givenWords(command)), seconds: (performance.now() - started) / 1000 });
    if (await isOfSets(model, flat)) await compareSets(model, flat, words, keep);
    else await usual(model, clipOf(flat).flat, words, keep);
  });
}

/** Samples of digits and Fashion-MNIST by the classifiers that come with the package. */
async function usual(model: string, flat: Flat, words: Flat, keep: Keep): Promise<void> {
  const { neighbours } = valuesOf(own, flat);
  const { threads } = valuesOf(drawing, flat);
  const save = words['save'] === undefined ? null : String(words['save']);
  if (save) await checkWritable(save);
  const json = words['json'] === true;
  const given = (await isPictures(model)) ? await fromFolder(model, flat) : await fromModel(model, flat, json);
  const { samples, reference, settings, notes } = given;
  const evaluation = await evaluate({ reference, samples, neighbours, threads });
  const facts = { ...settings, reference: reference.data, ...scoresOf(reference, evaluation) };
  if (save) await saveFeatures(save, evaluation, samples, asText(facts));
  const report = { kind: 'evaluation', ...facts, metrics: evaluation.metrics, nearest: nearestOf(evaluation) };
  await keep(report);
  if (json) say(JSON.stringify(report));
  else for (const line of [...notes, ...lines(model, given, evaluation)]) say(line);
}

/** A folder that is neither a run nor a checkpoint. */
async function isPictures(spec: string): Promise<boolean> {
  const is = (path: string, what: 'isDirectory' | 'isFile'): Promise<boolean> =>
    stat(path).then(
      (s) => s[what](),
      () => false,
    );
  const model = await Promise.all(
    [MODEL_FILE, 'checkpoint.json', 'config.json', 'model_index.json', 'onestep.json'].map((name) => is(join(spec, name), 'isFile')),
  );
  return (await is(spec, 'isDirectory')) && !model.includes(true);
}

async function fromFolder(folder: string, flat: Flat): Promise<Given> {
  const reference = referenceFor(valuesOf(own, flat).reference, '');
  const { images, n, labels } = await readSampleFolder(folder, reference.shape, flat['n'] === undefined ? null : valuesOf(own, flat).n);
  const notes = labels ? [] : ['the names do not end in a class (as 000000-7.png does), so there is no class accuracy'];
  return { samples: { images, n, labels }, reference, settings: { samples: folder, n }, notes };
}

async function fromModel(spec: string, flat: Flat, json: boolean): Promise<Given> {
  const { n } = valuesOf(own, flat);
  const { seed, guidance } = valuesOf(drawing, flat);
  const source = await openDrawn(spec, flat);
  try {
    const reference = referenceFor(valuesOf(own, flat).reference, source.data);
    checkSamples(spec, reference, source.sample.shape, source.sample.classes);
    const labels = labelsFor(source, [], n);
    const { images, imagesPerSecond } = await drawSamples(source, { n, seed, labels }, json ? undefined : showPace());
    const { sampler, nfe } = source.generator;
    const notes =
      source.data === reference.spec
        ? []
        : [`${spec} was trained on ${source.data || 'unknown data'}; it is compared with ${reference.spec}`];
    return {
      samples: { images: toBytes(images), n, labels },
      reference,
      settings: { model: spec, n, seed, sampler, guidance, nfe, imagesPerSecond },
      notes,
    };
  } finally {
    await source.generator.close();
  }
}

const scoresOf = ({ data }: Reference, { scores: { metric, frechet, floor, precision, recall, classAccuracy, checksum } }: Evaluation) => ({
  metric,
  frechetHeldOut: frechet.heldOut,
  frechetTraining: frechet.training,
  floor,
  precision,
  recall,
  classAccuracy,
  extractor: shippedClassifiers[data].name,
  extractorSha256: checksum,
});

/** The search without its lists. */
function nearestOf({ scores: { nearest } }: Evaluation) {
  if (!nearest) return null;
  const { median, low, heldOut, close } = nearest;
  return { samples: nearest.index.length, median, low, heldOut, close };
}

const asText = (facts: Readonly<Record<string, string | number | null>>): Record<string, string> =>
  Object.fromEntries(Object.entries(facts).flatMap(([name, value]) => (value === null ? [] : [[name, String(value)]])));

function lines(spec: string, { reference, settings }: Given, evaluation: Evaluation): string[] {
  const { n, seed, sampler, nfe, guidance, imagesPerSecond } = settings;
  const { metric, frechet, floor, precision, recall, classAccuracy, checksum } = evaluation.scores;
  const drawn =
    nfe === undefined
      ? ''
      : `: seed ${seed}, sampler ${sampler}, guidance ${guidance}, NFE ${nfe}, ${short(Number(imagesPerSecond))} images/s`;
  const nearest = nearestOf(evaluation);
  return [
    `${n} samples of ${spec}${drawn}`,
    `${metric}: ${short(frechet.heldOut)} to held-out, ${short(frechet.training)} to training images; floor ${short(floor)} (held-out to training); it is no FID and compares only at equal n`,
    ...(precision === null || recall === null
      ? []
      : [
          `precision ${short(precision)}, recall ${short(recall)}: ${NEIGHBOURS} neighbours in the features of at most 5,000 training images`,
        ]),
    ...(classAccuracy === null ? [] : [`class accuracy: ${short(classAccuracy)}`]),
    ...(nearest
      ? [
          `nearest training images of ${nearest.samples} samples: median distance ${short(nearest.median)}, 5th percentile ${short(nearest.low)}; of held-out images ${short(nearest.heldOut.median)} and ${short(nearest.heldOut.low)}`,
          `${(100 * nearest.close).toFixed(1)} % are nearer than the nearest 5 % of held-out images: about 5 % without copying, 100 % for copies`,
        ]
      : []),
    `extractor: ${shippedClassifiers[reference.data].name}, SHA-256 ${checksum}`,
  ];
}
