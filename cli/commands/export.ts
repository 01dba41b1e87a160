/** @file `onestep export`: a student as an ONNX file, as a folder, as a pipeline of diffusers, or as weights. */
import { Command, Option } from 'commander';
import { InputError } from '../../engine/io/errors.ts';
import { say } from '../output.ts';
import { fused, isOfAdapters } from '../work/adapters.ts';
import { DEFAULT_OUT, EXPORT_FORMATS, EXPORTERS, type ExportFormat } from '../work/export-files.ts';
import { type Comparison, exportExperts, type Storage, TOLERANCE, toleranceFor } from '../work/exporting.ts';
import { loadModel, type Model } from '../work/model.ts';
import { checkWritable } from '../work/sample-files.ts';

interface Flags {
  readonly out?: string;
  readonly format: ExportFormat;
  readonly storage: Storage;
  readonly check: boolean;
  readonly snippets?: boolean;
  readonly separate: boolean;
  readonly json?: boolean;
}

export const exportCommand = (): Command =>
  new Command('export')
    .description('write a student as an ONNX file: noise and label in, image out, any batch size')
    .argument('<model>', 'run folder, checkpoint or model file of a student')
    .option('--out <path>', `what to write (default: ${Object.values(DEFAULT_OUT).join(', ')})`)
    .addOption(
      new Option(
        '--format <form>',
        'one ONNX file; a folder with it, a manifest and snippets; the weights under their own names; a pipeline of diffusers with the scheduler that fits; or adapters alone as PEFT or kohya names them',
      )
        .choices(EXPORT_FORMATS)
        .default('onnx'),
    )
    .addOption(
      new Option('--storage <type>', 'type in which weights are stored; they are widened when the file is loaded')
        .choices(Object.keys(TOLERANCE))
        .default('float32'),
    )
    .option('--check', 'compare samples of the file with those of the engine for the same noise', true)
    .option('--no-check', 'write the file without comparing')
    .option('--snippets', 'write programs beside it that use it in Python, Node and the browser (default: in a folder)')
    .option('--no-snippets', 'write no programs')
    .option('--separate', 'write the experts of a phased or multi-student model as files of their own instead', false)
    .option('--json', 'print one JSON object')
    .action(async (spec: string, flags: Flags) => {
      const { format, storage, check, separate, json, snippets = format === 'folder' || format === 'diffusers' } = flags;
      const out = flags.out ?? DEFAULT_OUT[format];
      const loaded = await loadModel(spec);
      const model = isOfAdapters(format) ? loaded : fused(loaded);
      if (separate) return exportSeparate(model, out, flags);
      const { files, comparison, approximate = false } = await EXPORTERS[format]({ model, out, storage, check, snippets });
      const [, ...others] = files;
      const facts = {
        kind: 'export',
        out,
        ...(format === 'onnx' ? {} : { format }),
        storage,
        ...(others.length > 0 ? { files: others } : {}),
      };
      if (json) say(JSON.stringify({ ...facts, ...comparison }));
      else say(`${spec} is written to ${files.join(', ')} (weights in ${storage})${comparison ? `; ${words(comparison)}` : ''}`);
      if (comparison && !approximate && !(comparison.maxDifference <= toleranceFor(model, storage)))
        throw new Error(
          `internal: export: ${out} differs from the engine by ${comparison.maxDifference}; at most ${toleranceFor(model, storage)} is due to rounding`,
        );
    });

/** Each expert as a file of its own, without a comparison: the engine knows them together only. */
async function exportSeparate(model: Model, out: string, { format, storage, json, snippets }: Flags): Promise<void> {
  if (format !== 'onnx' || snippets)
    throw new InputError('separate: experts are written as ONNX files alone; leave --format and --snippets out');
  if (!out.endsWith('.onnx')) throw new InputError(`out: ${out} does not end in .onnx; give a name that does`);
  await checkWritable(out);
  const files = await exportExperts(model, out, storage);
  say(
    json
      ? JSON.stringify({ kind: 'export', out: files, storage })
      : `${model.source} is written to ${files.join(', ')} (weights in ${storage})`,
  );
}

const words = ({ samples, maxDifference, rmsDifference }: Comparison): string =>
  `the largest difference from the engine in ${samples} samples is ${maxDifference.toExponential(2)}, the root mean square ${rmsDifference.toExponential(2)} (pixels from -1 to 1)`;
