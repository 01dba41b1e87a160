/** @file The example as one command: `npx tsx examples/avatars/run.ts`. See README.md beside this file. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { InputError } from '../../engine/io/errors.ts';
import { report } from './report.ts';
import { FULL, type Settings, TINY } from './settings.ts';
import {
  type Context,
  drawAll,
  makeAutoencoder,
  makeDecoder,
  makeJudge,
  makeLatents,
  makeStudents,
  makeStyle,
  makeStyledStudent,
  makeTeacher,
  publish,
} from './stages.ts';

/** In the order in which they build on each other. */
const STAGES: Readonly<Record<string, (context: Context, only?: string) => Promise<void>>> = {
  draw: drawAll,
  judge: makeJudge,
  autoencoder: makeAutoencoder,
  latents: makeLatents,
  decoder: makeDecoder,
  teacher: makeTeacher,
  students: makeStudents,
  style: makeStyle,
  'style-student': makeStyledStudent,
  publish,
  report,
};
const BUDGETS: Readonly<Record<string, Settings>> = { full: FULL, tiny: TINY };

export async function run(words: readonly string[], say: (line: string) => void): Promise<void> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...words],
    options: { out: text, artifacts: text, results: text, budget: text, stage: text, only: text, threads: text },
  });
  const { out = 'runs/avatars', budget = 'full', stage } = values;
  const settings = BUDGETS[budget];
  if (!settings) throw new InputError(`avatars: --budget ${budget}; one of ${Object.keys(BUDGETS).join(', ')} expected`);
  const chosen = stage === undefined ? Object.keys(STAGES) : stage.split(',');
  const unknown = chosen.find((name) => !Object.hasOwn(STAGES, name));
  if (unknown !== undefined) throw new InputError(`avatars: --stage ${unknown}; some of ${Object.keys(STAGES).join(', ')} expected`);
  await mkdir(out, { recursive: true });
  const context: Context = {
    ...{ settings, out, say, threads: Number(values.threads ?? 2) },
    artifacts: values.artifacts ?? join(out, 'artifacts'),
    results: values.results ?? join(out, 'results'),
  };
  for (const name of chosen) await STAGES[name]!(context, values.only);
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href)
  await run(process.argv.slice(2), (line) => console.log(line)).catch((error: unknown) => {
    if (!(error instanceof InputError)) throw error;
    console.error(error.message);
    process.exitCode = 2;
  });
