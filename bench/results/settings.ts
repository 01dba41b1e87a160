/** @file What `npm run results` compares and how: configs/results.json. */
import { readFile } from 'node:fs/promises';
import type { Flat } from '../../cli/config.ts';
import { InputError } from '../../engine/io/errors.ts';
import { options, real, resolve, text, type Values, whole, wholes } from '../../engine/train/options.ts';

const schema = options({
  data: text('fashion-mnist', 'data set of teacher, students and measurements'),
  teacher: text('artifacts/fashion-teacher.safetensors', 'the teacher of all methods'),
  start: text('artifacts/fashion-small.safetensors', 'what the trained players of the sweep start from; empty: the teacher'),
  seed: whole(0, 'seed of trainings and of the noise of all samples', { min: 0 }),
  threads: whole(2, 'threads of ONNX Runtime; 0 for all cores', { min: 0 }),
  images: whole(50_000, 'images that a student of the sweep sees', { min: 1 }),
  longImages: whole(250_000, 'images that a student of a long run sees', { min: 1 }),
  best: whole(3, 'methods of the long runs: the best of the sweep', { min: 1 }),
  samples: whole(5000, 'samples of a measurement', { min: 4 }),
  points: whole(5, 'evaluations during a training', { min: 1 }),
  pointSamples: whole(1000, 'samples of an evaluation during a training', { min: 4 }),
  pairs: whole(8000, "pairs of noise and the teacher's sample for methods that learn from them", { min: 1 }),
  pairLevels: whole(10, "levels of the teacher's trajectory in the pairs", { min: 2 }),
  evaluations: wholes([1, 2, 4, 8, 18, 35], 'network evaluations a sample for which the teacher is measured', { min: 1 }),
  imagesPerSecond: real(100, 'pace of training that is expected of a method of the sweep that was not measured yet', { min: 0.1 }),
  longImagesPerSecond: real(70, 'the same of a long run', { min: 0.1 }),
  teacherPerSecond: real(500, 'evaluations of the teacher a second that are expected', { min: 0.1 }),
});

export interface Settings extends Values<typeof schema> {
  /** Options of every training; what a method recommends goes before them. */
  readonly options: Flat;
  /** Options of the long runs, before all others. */
  readonly long: Flat;
  /** Options of single methods, before what they recommend. */
  readonly methods: Readonly<Record<string, Flat>>;
}

const isGroup = (value: unknown): value is Flat => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Checks settings and fills in defaults. Errors: unknown names, values out of range, options that are no names with values. */
export function settingsOf(where: string, given: Flat): Settings {
  const { options: all = {}, long = {}, methods = {}, ...own } = given;
  const groups = { options: all, long, methods, ...(isGroup(methods) ? methods : {}) };
  const wrong = Object.entries(groups).find(([, group]) => !isGroup(group));
  if (wrong) throw new InputError(`${where}: ${wrong[0]} is ${JSON.stringify(wrong[1])}; options by their names are needed`);
  return { ...resolve(where, schema, own), options: all as Flat, long: long as Flat, methods: methods as Settings['methods'] };
}

/** Errors: a file that cannot be read or is no JSON; those of `settingsOf`. */
export async function readSettings(path: string): Promise<Settings> {
  const content = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new InputError(`results: cannot read ${path} (${error.code}); give a JSON file of settings`);
  });
  try {
    return settingsOf(path, JSON.parse(content) as Flat);
  } catch (error) {
    if (error instanceof SyntaxError) throw new InputError(`results: ${path} is not valid JSON: ${error.message}`);
    throw error;
  }
}
