/** @file `onestep export`: a student as an ONNX file. */
import { Command, Option } from 'commander';
import { InputError } from '../../engine/io/errors.ts';
import { say } from '../output.ts';
import { type Comparison, compareExport, exportExperts, exportStudent, type Storage, TOLERANCE } from '../work/exporting.ts';
import { loadModel } from '../work/model.ts';
import { checkWritable } from '../work/sample-files.ts';

interface Flags {
  readonly out: string;
  readonly storage: Storage;
  readonly check: boolean;
  readonly separate: boolean;
  readonly json?: boolean;
}

export const exportCommand = (): Command =>
  new Command('export')
    .description('write a student as an ONNX file: noise and label in, image out, any batch size')
    .argument('<model>', 'run folder, checkpoint or model file of a student')
    .option('--out <file>', 'the file to write', 'student.onnx')
    .addOption(
      new Option('--storage <type>', 'type in which weights are stored; they are widened when the file is loaded')
        .choices(Object.keys(TOLERANCE))
        .default('float32'),
    )
    .option('--check', 'compare samples of the file with those of the engine for the same noise', true)
    .option('--no-check', 'write the file without comparing')
    .option('--separate', 'write the experts of a phased or multi-student model as files of their own instead', false)
    .option('--json', 'print one JSON object')
    .action(async (spec: string, { out, storage, check, separate, json }: Flags) => {
      if (!out.endsWith('.onnx')) throw new InputError(`out: ${out} does not end in .onnx; give a name that does`);
      const model = await loadModel(spec);
      await checkWritable(out);
      if (separate) {
        const files = await exportExperts(model, out, storage);
        say(
          json
            ? JSON.stringify({ kind: 'export', out: files, storage })
            : `${spec} is written to ${files.join(', ')} (weights in ${storage})`,
        );
        return;
      }
      await exportStudent(model, out, storage);
      const comparison = check ? await compareExport(model, out) : null;
      if (json) say(JSON.stringify({ kind: 'export', out, storage, ...comparison }));
      else say(`${spec} is written to ${out} (weights in ${storage})${comparison ? `; ${words(comparison)}` : ''}`);
      if (comparison && !(comparison.maxDifference <= TOLERANCE[storage]))
        throw new Error(
          `internal: export: ${out} differs from the engine by ${comparison.maxDifference}; at most ${TOLERANCE[storage]} is due to rounding`,
        );
    });

const words = ({ samples, maxDifference }: Comparison): string =>
  `the largest difference from the engine in ${samples} samples is ${maxDifference.toExponential(2)} (pixels from -1 to 1)`;
