/** @file `onestep page`: a student as a static web page. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { packageRoot } from '../../data/artifacts.ts';
import { InputError } from '../../engine/io/errors.ts';
import { fileFailure } from '../../engine/io/failures.ts';
import { options, whole } from '../../engine/train/options.ts';
import { isStudentFolder, studentPath } from '../../student/folder.ts';
import { type Group, readConfig, valuesOf } from '../config.ts';
import { addFlags, gather } from '../flags.ts';
import { say } from '../output.ts';
import { studentOnnx } from '../work/exporting.ts';
import { method } from '../work/methods.ts';
import { loadModel } from '../work/model.ts';
import { planOf } from '../work/plan.ts';
import { writeSite } from '../work/site.ts';
import { type TrainingFiles, trainingFiles } from '../work/site-training.ts';

const schema = options({ trainSteps: whole(0, 'steps of the training; 0 for those of its configuration', { min: 0, max: 100_000 }) });
const group: Group<typeof schema> = { where: 'page', schema };
const OWN = ['out', 'title', 'train', 'webgpu', 'json'];
/** What a page trains: settings of a method without data, and the bundled teacher. */
const TRAINING = { method: 'dmd2', teacher: 'digit-teacher', config: 'configs/page.json' };

export function pageCommand(): Command {
  const command = new Command('page')
    .description('write a student as a static web page that draws samples in the browser, without a network')
    .argument('<model>', 'a finished student (.onnx or exported folder), or run folder, checkpoint or model file of a student')
    .option('--out <folder>', 'folder of the page', 'site')
    .option('--title <text>', 'title of the page')
    .option('--train', 'let the page also distil the bundled digit teacher, live', false)
    .option('--no-webgpu', 'leave out the runtime for WebGPU, 27 MB')
    .option('--json', 'print one JSON object');
  addFlags(command, [group as Group]);
  return command.action(async (spec: string) => {
    const { flat, own } = await gather(command, [group as Group], OWN);
    const steps = valuesOf(group, flat).trainSteps;
    if (steps > 0 && !own['train'])
      throw new InputError(`trainSteps: ${steps} steps are of a training, which the page has with --train; add it`);
    const written = await writeSite({
      name: spec,
      student: await studentBytes(spec),
      out: String(own['out']),
      devices: own['webgpu'] ? ['webgpu', 'wasm'] : ['wasm'],
      ...(own['train'] ? { training: await training(steps) } : {}),
      ...(typeof own['title'] === 'string' ? { title: own['title'] } : {}),
    });
    const { out, files, bytes } = written;
    if (own['json']) say(JSON.stringify({ kind: 'page', ...written }));
    else
      say(
        `${spec} is a page in ${out}: ${files} files, ${(bytes / 1e6).toFixed(1)} MB; show it with any file server, such as npx http-server ${out}`,
      );
  });
}

async function studentBytes(spec: string): Promise<Uint8Array> {
  if (!spec.endsWith('.onnx') && !(await isStudentFolder(spec))) return studentOnnx(await loadModel(spec));
  const path = await studentPath(spec);
  return readFile(path).catch((error: unknown) => {
    throw fileFailure('read', path, error);
  });
}

async function training(steps: number): Promise<TrainingFiles> {
  const teacher = await loadModel(TRAINING.teacher);
  const config = await readConfig(join(packageRoot(), TRAINING.config));
  const plan = planOf(await method(TRAINING.method), null, { ...config, ...(steps > 0 ? { steps } : {}) }, teacher.card);
  return trainingFiles(plan, teacher);
}
