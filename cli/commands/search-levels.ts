/** @file `onestep search-levels`: at which noise levels a student is best called. */
import { Command } from 'commander';
import { InputError } from '../../engine/io/errors.ts';
import { options, reals, whole } from '../../engine/train/options.ts';
import { evaluatedAs, frechetName, openEvaluation } from '../../eval/evaluation.ts';
import { classifierExtractor } from '../../eval/features/classifier.ts';
import { classifiedData } from '../../eval/features/shipped.ts';
import { type Group, valuesOf } from '../config.ts';
import { addFlags, deviceOption, gather } from '../flags.ts';
import { clearProgress, progress, say, short } from '../output.ts';
import { deviceNamed } from '../work/device.ts';
import { loadModel, type Model } from '../work/model.ts';
import {
  cardFile,
  type Distances,
  type FoundLevels,
  type Measure,
  type StudentSearch,
  searched,
  searchStudent,
  type Tried,
  writeLevels,
} from '../work/search-levels.ts';

const schema = options({
  steps: whole(0, 'calls of the student; 0 for as many as it has, and at least 2', { min: 0, max: 64 }),
  samples: whole(2000, 'samples that each candidate is measured by, all from the same noise', { min: 2 }),
  range: reals([], 'lowest and highest level of the search; none for all at which the student was trained', { min: 1e-6 }),
  iterations: whole(6, 'cuts of the interval of each level to two thirds; every one measures two candidates', { min: 1, max: 100 }),
  seed: whole(0, 'seed of the noise', { min: 0, max: 2 ** 31 - 1 }),
  batch: whole(100, 'samples that are drawn at once', { min: 1 }),
  threads: whole(0, 'threads of ONNX Runtime; 0 for all cores', { min: 0, max: 256 }),
  device: deviceOption,
});
const own: Group<typeof schema> = { where: 'search-levels', schema };

export function searchLevelsCommand(): Command {
  const command = new Command('search-levels')
    .description("search the noise levels of a student's calls for the smallest distance of its samples to real ones")
    .argument('<student>', 'run folder, checkpoint or weights file of a student')
    .option('--write', 'put the best levels on the card of the model, where sample, evaluate and export find them')
    .option('--json', 'print one JSON object');
  addFlags(command, [own as Group]);
  return command.action(async (spec: string) => {
    const { flat, own: given } = await gather(command, [own as Group], ['write', 'json']);
    const { steps, ...values } = valuesOf(own, flat);
    const model = await loadModel(spec);
    if (given['write']) await cardFile(spec);
    const calls = steps === 0 ? Math.max(2, model.card.levels?.length ?? 0) : steps;
    if (calls < 2) throw new InputError('steps: one call has one level, which is not searched; give at least 2');
    const found = await search(model, { ...values, device: deviceNamed(values.device), calls }, given['json'] === true);
    const better = searched(found.after.measured) < searched(found.before.measured);
    if (given['write'] && better) await writeLevels(spec, model, found.after.levels);
    const written = given['write'] === true && better;
    if (given['json']) say(JSON.stringify({ kind: 'levels', model: spec, ...values, ...asFacts(found), written }));
    else for (const line of lines(model, found, { better, written })) say(line);
  });
}

async function search(model: Model, settings: Omit<StudentSearch, 'onTry'>, json: boolean): Promise<FoundLevels> {
  const data = evaluatedAs(model.card.data);
  if (!data)
    throw new InputError(
      `search-levels: samples of ${model.card.data || 'unknown data'} cannot be measured; students of ${classifiedData.join(', ')} can be searched`,
    );
  const extractor = await classifierExtractor(data);
  const evaluation = await openEvaluation(model.card.data, { neighbours: 0 });
  try {
    const onTry = ({ levels, measured }: Tried<Distances>): void =>
      progress(`${shown(levels)}: distance ${short(searched(measured))}`, true);
    const distances: Measure = async (images, n) => evaluation.frechet((await extractor.features(images, n)).features, n);
    return await searchStudent(model, { ...settings, ...(json ? {} : { onTry }) }, distances);
  } finally {
    clearProgress();
    await evaluation.close();
    await extractor.close();
  }
}

const shown = (levels: readonly number[]): string => levels.map(short).join(', ');
const factsOf = ({ levels, measured }: Tried<Distances>) => ({
  levels,
  frechetHeldOut: measured.heldOut,
  frechetTraining: measured.training,
});
const asFacts = ({ before, after }: FoundLevels) => ({ before: factsOf(before), after: factsOf(after) });

function lines(
  { source, card }: Model,
  { before, after }: FoundLevels,
  { better, written }: { better: boolean; written: boolean },
): string[] {
  const metric = frechetName(evaluatedAs(card.data)!);
  const row = (name: string, { levels, measured }: Tried<Distances>): string =>
    `${name} ${shown(levels)}: ${metric} ${short(measured.training)} to training, ${short(measured.heldOut)} to held-out images`;
  const end = written
    ? [`the card of ${source} has them now; sample, evaluate and export use them`]
    : better
      ? []
      : [`none of the levels tried is better than those that ${source} has`];
  return [row('levels before', before), row('best levels', after), ...end];
}
