/** @file `onestep methods`: what can be distilled with, and its options. */
import { Command } from 'commander';
import { kebab } from '../flags.ts';
import { say } from '../output.ts';
import { allMethods, factsOf, type MethodFacts, method } from '../work/methods.ts';

export const methodsCommand = (): Command =>
  new Command('methods')
    .description('list the methods with their papers, players and options')
    .argument('[method...]', 'these alone (default: all)')
    .option('--json', 'print one JSON array')
    .action(async (names: readonly string[], { json }: { json?: boolean }) => {
      const methods = (names.length > 0 ? await Promise.all(names.map(method)) : await allMethods()).map(factsOf);
      if (json) say(JSON.stringify(methods));
      else for (const line of methods.flatMap(lines)) say(line);
    });

const shown = (value: unknown): string => (Array.isArray(value) ? value.join(',') || 'none' : String(value));

function lines({ name, title, reference, players, heads, options, recommended }: MethodFacts): string[] {
  const cast = [
    ...Object.entries(players).map(
      ([player, start]) =>
        `${player} (${start.startsWith('average') ? start : `starts ${start === 'fresh' ? 'fresh' : `from the ${start}`}`})`,
    ),
    ...heads.map((head) => `${head} (head, starts fresh)`),
  ];
  const replaced = Object.entries(recommended).map(([option, value]) => `--${kebab(option)} ${shown(value)}`);
  return [
    `${name}  arXiv:${reference}`,
    `  ${title}`,
    `  players: ${cast.join(', ')}`,
    ...(replaced.length > 0 ? [`  settings: ${replaced.join(' ')}`] : []),
    ...options.map((o) => `  --${kebab(o.name)} ${shown(o.initial)}: ${o.help} (${o.values})`),
    '',
  ];
}
