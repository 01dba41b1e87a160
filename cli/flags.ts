/** @file Flags derived from option schemas: name, default, range and help stand in one place. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { InputError } from '../engine/io/errors.ts';
import { didYouMean } from '../engine/io/nearest.ts';
import { type DeviceName, deviceNames, deviceOf } from '../engine/run/devices.ts';
import { choice, describe, type OptionFact } from '../engine/train/options.ts';
import { checkNames, type Flat, flatFacts, type Group, readConfig } from './config.ts';
import { settleDevice } from './work/device.ts';

const DEVICE_HELP = 'what networks run on; auto takes the fastest that works here, and says why';
/** Every command that computes has it. */
export const deviceOption = choice(
  ['cpu', 'auto', ...deviceNames.filter((name) => name !== 'cpu')] as ['cpu', ...(DeviceName | 'auto')[]],
  'cpu',
  DEVICE_HELP,
);

export const kebab = (name: string): string => name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);

function parser(fact: OptionFact): (word: string) => unknown {
  const number = (word: string): number => {
    const value = Number(word);
    if (word.trim() === '' || Number.isNaN(value)) throw new InvalidArgumentError(`It should be ${describe(fact)}.`);
    return value;
  };
  const list = (word: string): string[] => (word === '' ? [] : word.split(',').map((w) => w.trim()));
  switch (fact.type) {
    case 'number':
    case 'integer':
      return number;
    case 'numbers':
    case 'integers':
      return (word) => list(word).map(number);
    case 'strings':
      return list;
    case 'boolean':
      return (word) => {
        if (word !== 'true' && word !== 'false') throw new InvalidArgumentError('It should be true or false.');
        return word === 'true';
      };
    default:
      return (word) => word;
  }
}

const placeholder: Readonly<Record<OptionFact['type'], string>> = {
  number: 'number',
  integer: 'n',
  boolean: 'true|false',
  string: 'text',
  choice: 'word',
  numbers: 'a,b,…',
  integers: 'a,b,…',
  strings: 'a,b,…',
};

/** Adds one flag per option. `defaults` replaces the schema's defaults in the help. */
export function addFlags(command: Command, groups: readonly Group[], defaults: Flat = {}): Command {
  for (const fact of flatFacts(groups)) {
    const value = defaults[fact.name] ?? fact.initial;
    const shown = Array.isArray(value) ? value.join(',') : String(value);
    const range = fact.type === 'choice' || fact.min !== undefined || fact.max !== undefined ? ` (${describe(fact)};` : ' (';
    // Without a word after it, a flag of yes or no means yes.
    const word = fact.type === 'boolean' ? '[true|false]' : `<${placeholder[fact.type]}>`;
    const help = `${fact.help}${range} default: ${shown === '' ? 'none' : shown})`.replace('( ', '(');
    const option = new Option(`--${kebab(fact.name)} ${word}`, help).argParser(parser(fact));
    command.addOption(fact.type === 'boolean' ? option.preset('true') : option);
  }
  return command;
}

/** The device that a word asks for; what it is and why is told. Errors: it does not work here, or is none. */
export async function settled(word: string): Promise<DeviceName> {
  if (word === 'cpu') return word;
  const choices = ['auto', ...deviceNames];
  if (!choices.includes(word))
    throw new InputError(`device: there is no ${word}${didYouMean(word, choices)}; there are ${choices.join(', ')}`);
  const { device, why } = await settleDevice(word as DeviceName | 'auto');
  process.stderr.write(`device: ${deviceOf(device).title} (${why})\n`);
  return device;
}
const onDevice = async (flat: Flat): Promise<Flat> =>
  flat['device'] === undefined ? flat : { ...flat, device: await settled(String(flat['device'])) };

/** The flag by itself, for commands without groups of options. */
export const deviceFlag = (): Option =>
  new Option('--device <word>', `${DEVICE_HELP} (one of auto, ${deviceNames.join(', ')})`).default('cpu');

/**
 * Values of a configuration file, overridden by the flags that were given. Names that belong to the command itself (`own`) are left out of the check.
 * @param file the file's values; default: those of the file that --config names
 * @throws InputError for a name that neither the groups nor the command have, in the file or among the flags
 */
export async function gather(
  command: Command,
  groups: readonly Group[],
  own: readonly string[],
  file?: Flat,
): Promise<{ readonly flat: Flat; readonly own: Flat }> {
  const given = command.opts() as Record<string, unknown>;
  const stored = file ?? (typeof given['config'] === 'string' ? await readConfig(given['config']) : {});
  const pick = (source: Flat, keep: (name: string) => boolean): Flat =>
    Object.fromEntries(Object.entries(source).filter(([name, v]) => v !== undefined && keep(name)));
  const isOwn = (name: string): boolean => own.includes(name);
  const values = { file: pick(stored, (name) => !isOwn(name)), flags: pick(given, (name) => !isOwn(name)) };
  checkNames(`config ${String(given['config'] ?? '')}`.trim(), groups, values.file);
  checkNames(command.name(), groups, values.flags);
  return { flat: await onDevice({ ...values.file, ...values.flags }), own: { ...pick(stored, isOwn), ...pick(given, isOwn) } };
}

/** The words that a command line was made of, from the command's name on. */
export function givenWords(command: Command): readonly string[] {
  let root = command;
  while (root.parent) root = root.parent;
  const { rawArgs } = root as unknown as { readonly rawArgs: readonly string[] };
  // A process's own arguments begin with the interpreter and the program.
  return rawArgs[0] === process.argv[0] ? rawArgs.slice(2) : rawArgs;
}
