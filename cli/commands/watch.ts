/** @file `onestep watch`: the page of a run, kept up to date while it trains. */
import { Command } from 'commander';
import { options, whole } from '../../engine/train/options.ts';
import { type Group, valuesOf } from '../config.ts';
import { addFlags, gather } from '../flags.ts';
import { say } from '../output.ts';
import { openWatch } from '../work/watch.ts';

const schema = options({ port: whole(0, 'port on this machine; 0 for a free one', { min: 0, max: 65_535 }) });
const group: Group<typeof schema> = { where: 'watch', schema };

export function watchCommand(): Command {
  const command = new Command('watch')
    .description('Show a run on a page of this machine that follows its log while it trains. Reads only; Ctrl-C ends it.')
    .argument('<run>', 'run folder')
    .option('--json', 'print the address as one JSON object');
  addFlags(command, [group as Group]);
  return command.action(async (run: string) => {
    const { flat, own } = await gather(command, [group as Group], ['json']);
    const interrupted = interruption();
    const { url, port, close } = await openWatch(run, valuesOf(group, flat).port);
    say(own['json'] === true ? JSON.stringify({ kind: 'watch', run, url, port }) : `${run}: ${url} (Ctrl-C ends it)`);
    await interrupted;
    await close();
  });
}

/** Fulfilled by the first SIGINT or SIGTERM. */
const interruption = (): Promise<void> =>
  new Promise((resolve) => {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => resolve());
  });
