/** @file The commands of onestep. */
import { Command } from 'commander';
import { benchmarkCommand } from './commands/benchmark.ts';
import { doctorCommand } from './commands/doctor.ts';
import { evaluateCommand } from './commands/evaluate.ts';
import { exportCommand } from './commands/export.ts';
import { featuresCommand } from './commands/features.ts';
import { forwardCommand } from './commands/forward.ts';
import { importCommand } from './commands/import.ts';
import { inspectCommand } from './commands/inspect.ts';
import { methodsCommand } from './commands/methods.ts';
import { pageCommand } from './commands/page.ts';
import { pairsCommand } from './commands/pairs.ts';
import { quickstartCommand } from './commands/quickstart.ts';
import { reportCommand } from './commands/report.ts';
import { sampleCommand } from './commands/sample.ts';
import { searchLevelsCommand } from './commands/search-levels.ts';
import { distillCommand, trainCommand } from './commands/train.ts';
import { watchCommand } from './commands/watch.ts';
import { oneLine } from './output.ts';
import { packageVersion } from './version.ts';

export async function program(): Promise<Command> {
  const root = new Command('onestep')
    .description('One-step diffusion distillation: a teacher in, a one-step ONNX generator out.')
    .version(packageVersion())
    .option('--debug', 'show the stack of an error');
  const commands = [
    await quickstartCommand(),
    importCommand(),
    trainCommand(),
    await distillCommand(),
    sampleCommand(),
    pairsCommand(),
    evaluateCommand(),
    featuresCommand(),
    reportCommand(),
    watchCommand(),
    benchmarkCommand(),
    inspectCommand(),
    searchLevelsCommand(),
    exportCommand(),
    pageCommand(),
    forwardCommand(),
    methodsCommand(),
    doctorCommand(),
  ];
  for (const command of commands) root.addCommand(command);
  settle(root);
  return root;
}

/** Of a command and those below it: errors are thrown instead of ending the process, and take one line with the nearest right word. */
function settle(command: Command): void {
  command.exitOverride().showSuggestionAfterError();
  command.configureOutput({ outputError: (text, write) => write(`${oneLine(text)}\n`) });
  for (const child of command.commands) settle(child);
}
