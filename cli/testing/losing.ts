/** @file The command line on a device that is lost once the run in a folder (the first argument) has a checkpoint; a process of its own. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import * as ort from 'onnxruntime-node';

const [node = '', script = '', folder = '', ...words] = process.argv;
process.argv = [node, script, ...words];
const checkpoints = join(folder, 'checkpoints');
const saved = (): boolean => existsSync(checkpoints) && readdirSync(checkpoints).some((name) => !name.startsWith('.'));

const sessions = (ort.InferenceSession as unknown as { readonly prototype: { run: (...args: readonly unknown[]) => Promise<unknown> } })
  .prototype;
const { run } = sessions;
sessions.run = async function lost(this: unknown, ...args: readonly unknown[]) {
  if (saved()) throw new Error('device lost');
  return run.apply(this, [...args]);
};
await import('../main.ts');
