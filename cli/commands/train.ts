/** @file `onestep train` and `onestep distill`: one training run in one folder. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { loadDataset } from '../../data/registry.ts';
import { InputError } from '../../engine/io/errors.ts';
import { nearest } from '../../engine/io/nearest.ts';
import type { Loss } from '../../engine/train/loss.ts';
import edmLoss from '../../losses/edm.ts';
import { networkFamilies } from '../../models/index.ts';
import { type Flat, flatFacts, readConfig } from '../config.ts';
import { addFlags, gather, kebab } from '../flags.ts';
import { say } from '../output.ts';
import { interruption, showRun } from '../show.ts';
import { dryRun } from '../work/dry-run.ts';
import { allMethods } from '../work/methods.ts';
import { loadModel } from '../work/model.ts';
import { groupsOf, type Plan, planOf } from '../work/plan.ts';
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

async function settled(command: Command, loss: Loss, kind: Kind): Promise<{ readonly plan: Plan; readonly own: Flat }> {
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
  return { plan: planOf(loss, network, flat), own };
}

async function execute(command: Command, loss: Loss, kind: Kind): Promise<void> {
  const { plan, own } = await settled(command, loss, kind);
  const { json, resume, dryRun: dry } = command.opts() as { json?: boolean; resume?: boolean; dryRun?: boolean };
  const teacher = kind === 'distill' && typeof own['teacher'] === 'string' ? await loadModel(own['teacher']) : null;
  if (kind === 'distill' && !teacher)
    throw new InputError('distill: no teacher given; use --teacher with a run folder, a file or digit-teacher');
  const start = kind === 'distill' && typeof own['start'] === 'string' ? await loadModel(own['start']) : null;
  const { data, size, channels, skipBad } = plan.run;
  const split = await loadDataset(data, { ...(size ? { size } : {}), ...(channels ? { channels: channels as 1 | 3 } : {}), skipBad });
  const folder = folderOf(command, loss);
  const request = { plan, command: kind, folder, split, teacher, start, resume: resume ?? false };
  if (dry) return showFacts(await dryRun(request), json ?? false);
  const result = await runTraining({ ...request, signal: interruption(), onEvent: showRun(plan.run.steps, json ?? false) });
  if (json) say(JSON.stringify({ kind: 'done', folder, step: result.step, seconds: result.seconds, finished: result.finished }));
  else say(`${result.finished ? 'done' : 'stopped'} at step ${result.step} after ${result.seconds.toFixed(0)} s: ${folder}`);
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
