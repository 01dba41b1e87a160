/** @file `onestep train` and `onestep distill`: one training run in one folder. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import type { Dataset, Split } from '../../data/dataset.ts';
import { loadDataset } from '../../data/registry.ts';
import { InputError } from '../../engine/io/errors.ts';
import { nearest } from '../../engine/io/nearest.ts';
import type { DeviceName } from '../../engine/run/devices.ts';
import type { ConditionTable } from '../../engine/train/conditions.ts';
import type { Loss } from '../../engine/train/loss.ts';
import edmLoss from '../../losses/edm.ts';
import { networkFamilies } from '../../models/index.ts';
import { type Flat, flatFacts, readConfig } from '../config.ts';
import { addFlags, gather, kebab } from '../flags.ts';
import { say } from '../output.ts';
import { interruption, showRun } from '../show.ts';
import { fused, withLora } from '../work/adapters.ts';
import { computeOf } from '../work/device.ts';
import { dryRun } from '../work/dry-run.ts';
import { nullConditions } from '../work/feeds.ts';
import { allMethods } from '../work/methods.ts';
import { loadModel, type Model } from '../work/model.ts';
import { groupsOf, type Plan, planOf } from '../work/plan.ts';
import { readPrompts, textTable, withNegative } from '../work/prompts.ts';
import { latentSplit, teacherSplit } from '../work/rows.ts';
import { TEACHER_DATA } from '../work/teacher-words.ts';
import { type RunRequest, runTraining } from '../work/training.ts';

type Kind = RunRequest['command'];
const edm = edmLoss as unknown as Loss;
const DEFAULT_NETWORK = 'song-unet';
/** Names that are the command's own, beside the options of the plan. */
const OWN = ['command', 'method', 'teacher', 'start', 'network', 'config', 'out', 'resume', 'dryRun', 'json', 'debug'];

const common = (command: Command): Command =>
  command
    .option('--config <file>', 'JSON or YAML file, or a run folder, with any of the options below; flags override it')
    .option('--out <folder>', 'folder of the run')
    .option('--resume', 'continue the run in the folder, with its settings; flags override them')
    .option('--dry-run', 'check everything, build the graphs, print sizes and memory, and run nothing')
    .option('--json', 'print one JSON object a line');

const folderOf = (command: Command, loss: Loss): string => (command.opts() as { out?: string }).out ?? join('runs', loss.name);

/** The file of settings: that of --config, or with --resume that of the run itself. Errors: it belongs to another method. */
async function settingsOf(command: Command, loss: Loss, kind: Kind): Promise<Flat> {
  const { config, resume } = command.opts() as { config?: string; resume?: boolean };
  const folder = folderOf(command, loss);
  const path = config ?? (resume && existsSync(join(folder, 'config.json')) ? folder : null);
  if (path === null) return {};
  const file = await readConfig(path);
  const method = file['method'] ?? loss.name;
  if (method !== loss.name) {
    const right = method === edm.name ? 'onestep train' : `onestep distill ${String(method)}`;
    throw new InputError(`config: ${path} is of the method ${String(method)}, not of ${kind} ${loss.name}; use it with ${right}`);
  }
  return file;
}

async function settled(
  command: Command,
  loss: Loss,
  kind: Kind,
): Promise<{ readonly plan: Plan; readonly teacher: Model | null; readonly own: Flat }> {
  const file = await settingsOf(command, loss, kind);
  const given = command.opts() as Flat;
  const network = kind === 'train' ? String(given['network'] ?? file['network'] ?? DEFAULT_NETWORK) : null;
  const groups = groupsOf(loss, network);
  const known = new Set([...OWN, ...flatFacts(groups).map((fact) => fact.name)]);
  const foreign = Object.keys(given).find((name) => !known.has(name));
  if (foreign)
    throw new InputError(
      `train: --${kebab(foreign)} is no option of the network ${network}; leave it out, or choose another network with --network`,
    );
  const { flat, own } = await gather(command, groups, OWN, file);
  const loaded = kind === 'distill' && typeof own['teacher'] === 'string' ? await loadModel(own['teacher']) : null;
  const teacher = loaded && (await asGiven(loaded, flat));
  return { plan: planOf(loss, network, flat, teacher?.card), teacher, own };
}

async function execute(command: Command, loss: Loss, kind: Kind): Promise<void> {
  const { plan, teacher, own } = await settled(command, loss, kind);
  const { json, resume, dryRun: dry } = command.opts() as { json?: boolean; resume?: boolean; dryRun?: boolean };
  if (kind === 'distill' && !teacher)
    throw new InputError('distill: no teacher given; use --teacher with a run folder, a file or digit-teacher');
  const start = kind === 'distill' && typeof own['start'] === 'string' ? fused(await loadModel(own['start'])) : null;
  const { data } = plan.run;
  const folder = folderOf(command, loss);
  const onRows = data === TEACHER_DATA || teacher?.card.image !== undefined;
  const split = await splitOf(plan, teacher);
  const texts = teacher && (await textsOf(plan, teacher, split.train, dry ? null : folder, json ? () => {} : say));
  const request = { plan, command: kind, folder, split, teacher, start, resume: resume ?? false, onRows, ...texts };
  if (dry) return showFacts(await dryRun(request), json ?? false);
  const result = await runTraining({ ...request, signal: interruption(), onEvent: showRun(plan.run.steps, json ?? false) });
  if (json) say(JSON.stringify({ kind: 'done', folder, step: result.step, seconds: result.seconds, finished: result.finished }));
  else say(`${result.finished ? 'done' : 'stopped'} at step ${result.step} after ${result.seconds.toFixed(0)} s: ${folder}`);
}

/** The teacher with what is added to it. */
async function asGiven(teacher: Model, { negativePrompt = '', teacherLora = [], threads = 0, device = 'cpu' }: Flat): Promise<Model> {
  const added = await withLora(teacher, teacherLora as readonly string[]);
  return negativePrompt === ''
    ? added
    : withNegative(added, String(negativePrompt), computeOf({ threads: Number(threads), device: device as DeviceName }));
}

/** The data of a run; of a latent teacher images are encoded later. Errors: there is no teacher whose samples could be the data. */
async function splitOf({ run: { data, size, channels, skipBad, teacherSamples } }: Plan, teacher: Model | null): Promise<Split> {
  if (data === TEACHER_DATA) {
    if (teacher) return teacherSplit(teacher, teacherSamples);
    throw new InputError('data: teacher stands for samples of the teacher, but there is none; name a data set');
  }
  const [wide, side] = teacher?.card.image ?? [];
  const shape = {
    ...(size || side ? { size: size || side! } : {}),
    ...(channels || wide ? { channels: (channels || wide) as 1 | 3 } : {}),
  };
  const split = await loadDataset(data, { ...shape, skipBad });
  return teacher?.card.image ? latentSplit(teacher, split) : split;
}

/** What the teacher's texts are; without a folder they are not computed. Errors: prompts that a teacher does not take, or lacks; images without a caption among others. */
async function textsOf(
  { run }: Plan,
  teacher: Model,
  train: Dataset,
  folder: string | null,
  onNote: (text: string) => void,
): Promise<Pick<RunRequest, 'texts' | 'prompts'>> {
  const { card, weights, source } = teacher;
  const { prompts } = run;
  if (prompts === '' && !card.text) return {};
  const captions = card.text ? captionsOf(train) : null;
  if (prompts === '' && !captions)
    throw new InputError(
      `prompts: ${source} is conditioned on texts; give a file with a prompt a line (--prompts prompts.txt), or images with captions (a .txt file beside each)`,
    );
  const asked = prompts === '' ? [] : await readPrompts(prompts);
  const nulls = nullConditions(weights);
  if (!card.text)
    throw new InputError(`prompts: ${source} takes no texts${card.sample.classes > 0 ? ', but classes' : ''}; leave prompts out`);
  const tableOf = async (texts: readonly string[]): Promise<ConditionTable> =>
    folder === null ? nulls : textTable(teacher, texts, { cache: join(folder, 'texts'), ...computeOf(run), onNote });
  const unique = [...new Set(captions)];
  const images = captions && inOrder(captions, unique, await tableOf(unique));
  const table = asked.length > 0 ? await tableOf(asked) : images!;
  return { texts: { table, nulls, ...(images ? { images } : {}) }, prompts: asked.length + unique.length };
}

/** The captions of images; null where there are none. Errors: some have none. */
function captionsOf({ name, captions, size }: Dataset): readonly string[] | null {
  if (!captions) return null;
  const without = captions.filter((caption) => caption === null).length;
  if (without > 0)
    throw new InputError(
      `data: ${without} of ${size} images of ${name} have no caption; a .txt file beside each of them, or beside none, expected`,
    );
  return captions as readonly string[];
}

/** Rows of captions in their order, out of a table that holds each text once. */
function inOrder(captions: readonly string[], unique: readonly string[], table: ConditionTable): ConditionTable {
  const places = new Map(unique.map((text, i) => [text, i]));
  return { size: captions.length, row: (name, i) => table.row(name, places.get(captions[i]!)! % table.size) };
}

function showFacts(facts: Flat, json: boolean): void {
  if (json) say(JSON.stringify(facts));
  else
    for (const [name, value] of Object.entries(facts)) say(`${name}: ${typeof value === 'object' ? JSON.stringify(value) : String(value)}`);
}

export function trainCommand(): Command {
  const families = Object.keys(networkFamilies);
  const command = common(
    new Command('train').description(`Train a diffusion model, the teacher of later distillations. ${edm.title}, arXiv:${edm.reference}.`),
  ).option('--network <family>', `network family: ${families.join(', ')} (default: ${DEFAULT_NETWORK})`);
  addFlags(
    command,
    families.flatMap((family) => groupsOf(edm, family)),
    edm.recommended,
  );
  return command.action(() => execute(command, edm, 'train'));
}

export async function distillCommand(): Promise<Command> {
  const root = new Command('distill')
    .description('Distil a teacher into a student of one or a few steps.')
    .usage('<method> --teacher <model> [options]');
  const methods = (await allMethods()).filter(({ players }) => 'teacher' in players || 'student' in players);
  for (const loss of methods) {
    const command = common(new Command(loss.name).description(`${loss.title} (arXiv:${loss.reference})`))
      .option('--teacher <model>', 'run folder, weights file or bundled name (digit-teacher)')
      .option(
        '--start <model>',
        "diffusion model, smaller than the teacher for example, whose network and weights the trained players start from (default: the teacher's)",
      );
    addFlags(command, groupsOf(loss, null), loss.recommended);
    root.addCommand(command.action(() => execute(command, loss, 'distill')));
  }
  root.action(() => {
    throw unknownMethod(
      root.args.find((word) => !word.startsWith('-')),
      methods.map((method) => method.name),
    );
  });
  // A mistyped method is told before its options.
  return root.allowExcessArguments().allowUnknownOption();
}

function unknownMethod(name: string | undefined, names: readonly string[]): InputError {
  if (name === undefined) return new InputError(`distill: name a method: ${names.join(', ')}`);
  const near = nearest(name, names);
  return new InputError(`distill: there is no method ${name}${near ? `; did you mean ${near}?` : ''} (methods: ${names.join(', ')})`);
}
