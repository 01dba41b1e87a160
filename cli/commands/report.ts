/** @file `onestep report`: one page that compares runs. */
import { extname } from 'node:path';
import { Command } from 'commander';
import { InputError } from '../../engine/io/errors.ts';
import { options, whole } from '../../engine/train/options.ts';
import { type Group, valuesOf } from '../config.ts';
import { addFlags, deviceOption, gather } from '../flags.ts';
import { say } from '../output.ts';
import { showPace } from '../show.ts';
import { compareRuns, filesOf, writeReport } from '../work/report.ts';
import { checkWritable } from '../work/sample-files.ts';

const schema = options({
  samples: whole(40, 'samples that are drawn of each run, from the same noise, and kept in its folder; 0 for none', { min: 0, max: 1000 }),
  seed: whole(0, 'seed of their noise', { min: 0, max: 2 ** 31 - 1 }),
  threads: whole(0, 'threads of ONNX Runtime; 0 for all cores', { min: 0, max: 256 }),
  device: deviceOption,
});
const group: Group<typeof schema> = { where: 'report', schema };

export function reportCommand(): Command {
  const command = new Command('report')
    .description('Compare runs on one page that needs nothing else: measurements, curves, samples, commands.')
    .argument('<runs...>', 'run folders')
    .option('--out <file>', 'the page (.html)', 'report.html')
    .option('--json', 'write the same as .json beside it, and print one JSON object')
    .option('--markdown', 'write the same as .md beside it');
  addFlags(command, [group as Group]);
  return command.action(async (runs: string[]) => {
    const { flat, own } = await gather(command, [group as Group], ['out', 'json', 'markdown']);
    const { samples, seed, threads, device } = valuesOf(group, flat);
    const out = String(own['out']);
    const json = own['json'] === true;
    if (!/^\.html?$/i.test(extname(out))) throw new InputError(`out: ${out} does not end in .html; the page is HTML, such as report.html`);
    await checkWritable(out);
    const pace = showPace();
    const comparison = await compareRuns(runs, { n: samples, seed, threads, device, ...(json ? {} : { onPace: (_, at) => pace(at) }) });
    const files = filesOf(out, { json, markdown: own['markdown'] === true });
    await writeReport(comparison, files);
    const { problems, rows } = comparison;
    if (json) return say(JSON.stringify({ kind: 'report', ...files, runs: comparison.runs.length, rows: rows.length, problems }));
    for (const problem of problems) say(`left out: ${problem}`);
    const written = [files.html, files.json, files.markdown].filter((file) => file !== null);
    say(`${comparison.runs.length} ${comparison.runs.length === 1 ? 'run' : 'runs'}, ${rows.length} measurements: ${written.join(', ')}`);
  });
}
