/** @file `npm run results`: trains, measures and compares all methods on one data set. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { clock } from '../../cli/output.ts';
import { allMethods } from '../../cli/work/methods.ts';
import { loadModel } from '../../cli/work/model.ts';
import { packageRoot } from '../../data/artifacts.ts';
import { InputError } from '../../engine/io/errors.ts';
import { heedSignals, Stopped } from './command.ts';
import { chosenMethods } from './jobs.ts';
import { writeReport, writeSummary } from './report.ts';
import { readSettings } from './settings.ts';
import { type Context, long, sweep } from './stages.ts';
import { sumOf } from './training.ts';

const HELP = `npm run results -- [sweep] [long] [report] [--only METHOD,METHOD] [--images N] [--dry-run]
  sweep      every method with the same small student and the same number of images
  long       the best methods of the sweep with the teacher's own size, the best of them with a second seed
  report     tables, curves and samples from what was measured
             without a stage: all three. What is there already, made with the same settings, is not made again.
  --only     these methods alone
  --images   images that a student sees, instead of those of the settings
  --config   settings; configs/results.json (default)
  --out      folder of results; docs/results/DATA (default)
  --work     folder of runs; runs/results (default)
  --dry-run  print the plan with the time that it is expected to take`;

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const STAGES = ['sweep', 'long', 'report'] as const;

async function contextOf(values: Record<string, string | boolean | undefined>): Promise<Context> {
  const text = (name: string): string | undefined => values[name] as string | undefined;
  const stored = await readSettings(text('config') ?? join(packageRoot(), 'configs/results.json'));
  const images = text('images') === undefined ? null : Number(text('images'));
  if (images !== null && !(Number.isInteger(images) && images >= 1))
    throw new InputError(`results: --images ${text('images')} is no whole number of at least 1`);
  const settings = images === null ? stored : { ...stored, images, longImages: images };
  const data = settings.data.split(':')[0]!;
  const places = { results: text('out') ?? join(packageRoot(), 'docs/results', data), work: text('work') ?? 'runs/results' };
  const folders = [places.work, ...['reference', 'sweep', 'long'].map((stage) => join(places.results, stage))];
  if (values['dry-run'] !== true) for (const folder of folders) await mkdir(folder, { recursive: true });
  const origins = {
    teacher: await fileSum(settings.teacher),
    start: settings.start ? await fileSum(settings.start) : '',
    card: (await loadModel(settings.teacher)).card,
  };
  const methods = chosenMethods(await allMethods(), text('only')?.split(',') ?? [], settings);
  return { settings, origins, places, methods, dry: values['dry-run'] === true, say };
}

const fileSum = (path: string): Promise<string> =>
  sumOf(path).catch((error: NodeJS.ErrnoException) => {
    throw new InputError(
      `results: cannot read the model ${path} (${error.code}); train it as artifacts/README.md says, or name another in the settings`,
    );
  });

async function main(): Promise<void> {
  const word = { type: 'string' } as const;
  const yes = { type: 'boolean' } as const;
  const { values, positionals } = parseArgs({
    options: { only: word, images: word, config: word, out: word, work: word, 'dry-run': yes, help: yes },
    allowPositionals: true,
  });
  if (values.help) return say(HELP);
  const wrong = positionals.find((stage) => !STAGES.includes(stage as (typeof STAGES)[number]));
  if (wrong) throw new InputError(`results: there is no stage ${wrong}; there are ${STAGES.join(', ')}`);
  const wants = (stage: (typeof STAGES)[number]): boolean => positionals.length === 0 || positionals.includes(stage);
  const context = await contextOf(values);
  let seconds = 0;
  if (wants('sweep')) seconds += await sweep(context);
  if (wants('long')) seconds += await long(context);
  if (wants('report') && !context.dry) {
    const names = chosenMethods(await allMethods(), [], context.settings).map(({ name }) => name);
    await writeReport(context.places.results, context.settings, names);
    if (values.out === undefined) await writeSummary(join(packageRoot(), 'docs/methods.md'), context.places.results);
  }
  if (context.dry) say(`about ${clock(seconds)} in all`);
}

heedSignals();
try {
  await main();
} catch (error) {
  const stopped = error instanceof Stopped;
  const known = stopped || error instanceof InputError;
  process.stderr.write(
    stopped ? 'stopped; the same command goes on\n' : `${known ? `error: ${error.message}` : ((error as Error).stack ?? error)}\n`,
  );
  process.exitCode = stopped ? 130 : known ? 2 : 1;
}
