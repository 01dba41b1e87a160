/** @file `onestep import`: makes a teacher of a model that was trained elsewhere. */
import { join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { InputError } from '../../engine/io/errors.ts';
import { denoiserKinds, scheduleNames } from '../../models/foreign/onnx/schedules.ts';
import { say } from '../output.ts';
import { type ForeignOptions, nameOf, openForeign, splitSpec } from '../work/foreign.ts';
import { factsOf, linesOf, writeTeacher } from '../work/importing.ts';

const whole = (word: string): number => {
  const value = Number(word);
  if (word.trim() === '' || !Number.isInteger(value) || value < 0) throw new InvalidArgumentError('It should be a whole number.');
  return value;
};

interface Flags extends ForeignOptions {
  readonly out?: string;
  readonly write: boolean;
  readonly json?: boolean;
}

export const importCommand = (): Command =>
  new Command('import')
    .description('make a teacher of a model that was trained elsewhere, and say what it is')
    .argument('<model>', 'a folder of diffusers (a pipeline, or a network by itself), a snapshot of NVlabs/edm (.pkl), or an ONNX file')
    .option('--out <folder>', 'folder of the teacher (default: runs/ and the name of the model)')
    .addOption(new Option('--kind <kind>', 'what the network predicts, where the files do not say').choices(denoiserKinds))
    .addOption(new Option('--schedule <name>', 'the process that it was trained on, where the files do not say').choices(scheduleNames))
    .option('--variant <name>', 'such as fp16, of a folder that holds several precisions')
    .option('--size <n>', 'side of the samples, for networks that take any', whole)
    .option('--classes <n>', 'classes of an ONNX file that takes class numbers', whole)
    .option('--null-class <n>', 'the class number that stands for no class', whole)
    .option('--trainable <patterns>', "ONNX initializers that are weights, such as 'unet.*,!*.table' (default: all)", (words) =>
      words.split(','),
    )
    .option('--negative-prompt <text>', 'text that guidance pushes away from (default: the empty one)')
    .option('--no-write', 'only say what it is')
    .option('--json', 'print one JSON object')
    .action(async (spec: string, { out, write, json, ...flags }: Flags) => {
      const { path, options } = splitSpec(spec);
      const model = await openForeign(path, { ...options, ...flags }, true);
      if (!model)
        throw new InputError(
          `import: ${path} is no model that can be imported; give a folder with model_index.json or config.json, a .pkl of EDM, or an .onnx file with --kind and --schedule`,
        );
      const facts = factsOf(model);
      const folder = out ?? join('runs', nameOf(path));
      if (write) await writeTeacher(folder, model);
      if (json) say(JSON.stringify({ kind: 'import', model: path, ...(write ? { out: folder } : {}), ...facts }));
      else {
        for (const line of linesOf(facts)) say(line);
        if (write) say(`${path} is written to ${folder}; use it as --teacher ${folder}`);
      }
    });
