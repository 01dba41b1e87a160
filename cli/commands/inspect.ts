/** @file `onestep inspect`: what a teacher, and a student beside it, take a sample for at each of their levels. */
import { Command } from 'commander';
import { writeAtomic } from '../../engine/io/atomic.ts';
import { InputError } from '../../engine/io/errors.ts';
import { options, whole, wholes } from '../../engine/train/options.ts';
import { type Flat, type Group, valuesOf } from '../config.ts';
import { addFlags, gather } from '../flags.ts';
import { say } from '../output.ts';
import { deviceNamed } from '../work/device.ts';
import { labelsFor } from '../work/drawing.ts';
import { factsOf, type Inspected, sheetOf, studentOf, type Way, waysOf } from '../work/inspect.ts';
import { imageShape } from '../work/latents.ts';
import { loadModel, type Model } from '../work/model.ts';
import { checkWritable } from '../work/sample-files.ts';
import { drawing, samplerGroups } from '../work/source.ts';
import { teacherSampling } from '../work/teacher-sampling.ts';

const schema = options({
  n: whole(4, 'samples, each with a row for the teacher and one for the student', { min: 1, max: 100 }),
  label: wholes([], 'classes, taken in turn; every class where none are given', { min: 0 }),
});
const own: Group<typeof schema> = { where: 'inspect', schema };
const GROUPS: readonly Group[] = [own as Group, drawing as Group, ...samplerGroups];

export function inspectCommand(): Command {
  const command = new Command('inspect')
    .description('a picture of the clean sample as teacher and student see it at each of their levels, from the same noise')
    .argument('<teacher>', 'run folder, checkpoint, weights file or bundled name (digit-teacher)')
    .argument('[student]', 'run folder, checkpoint or weights file of a student')
    .option('--out <file>', 'the .png file to write', 'inspect.png')
    .option('--json', 'print one JSON object, with the levels and numbers of every estimate');
  addFlags(command, GROUPS);
  return command.action(async (teacherSpec: string, studentSpec: string | undefined) => {
    const { flat, own: given } = await gather(command, GROUPS, ['out', 'json']);
    const out = String(given['out']);
    if (!out.endsWith('.png')) throw new InputError(`out: ${out} does not end in .png; give a name that does`);
    await checkWritable(out);
    const teacher = await loadModel(teacherSpec);
    const models = [teacherOf(teacher, flat), ...(studentSpec ? [studentOf(await loadModel(studentSpec), teacher)] : [])];
    const { sample } = teacher.card;
    const { n, label } = valuesOf(own, flat);
    const { seed, threads, device } = valuesOf(drawing, flat);
    const labels = labelsFor({ name: teacherSpec, sample }, label, n);
    const ways = await waysOf(models, { labels, n, seed, threads, device: deviceNamed(device) });
    await writeAtomic(out, await sheetOf(ways, imageShape(teacher.card)));
    if (given['json']) say(JSON.stringify({ kind: 'inspection', out, seed, rows: ways.map(rowOf) }));
    else
      say(
        `${n} ${n === 1 ? 'sample' : 'samples'} in ${out}, seed ${seed}; the level is written under each picture: ${models.map(words).join('; ')}`,
      );
  });
}

/** A teacher with the sampler that is asked for. Errors: a student, samples that are no pictures, and those of `teacherSampling`. */
function teacherOf(model: Model, flat: Flat): Inspected {
  const { card, source } = model;
  if (card.levels) throw new InputError(`inspect: ${source} is a student; give its teacher first, then the student`);
  const shape = imageShape(card);
  const [channels] = shape;
  if (shape.length !== 3 || (channels !== 1 && channels !== 3))
    throw new InputError(`inspect: samples of [${shape}] are no pictures of 1 or 3 channels; give a teacher of pictures`);
  return { role: 'teacher', model, ...teacherSampling(model, flat) };
}

const words = ({ role, model, name, levels }: Inspected): string =>
  `${role} ${model.source} (${name}, ${levels.length} ${levels.length === 1 ? 'level' : 'levels'})`;

const rowOf = (way: Way) => ({
  role: way.role,
  model: way.source,
  sampler: way.sampler,
  nfe: way.nfe,
  label: way.label,
  steps: factsOf(way),
});
