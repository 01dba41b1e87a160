/** @file `onestep pairs`: pairs of noise and the teacher's sample, for methods that learn from them. */
import { Command } from 'commander';
import { options, real, type Values, whole } from '../../engine/train/options.ts';
import { type Group, valuesOf } from '../config.ts';
import { addFlags, deviceOption, gather } from '../flags.ts';
import { say } from '../output.ts';
import { showPace } from '../show.ts';
import { loadModel } from '../work/model.ts';
import { makePairs } from '../work/pairs.ts';

const schema = options({
  n: whole(10_000, 'pairs', { min: 1, max: 10_000_000 }),
  seed: whole(0, 'seed of the noise', { min: 0, max: 2 ** 31 - 1 }),
  steps: whole(18, "levels of the teacher's trajectory (Heun)", { min: 1, max: 100_000 }),
  guidance: real(1, 'scale of classifier-free guidance; 1 is none', { min: 0, max: 100 }),
  batch: whole(100, 'samples that are drawn at once', { min: 1 }),
  threads: whole(0, 'threads of ONNX Runtime; 0 for all cores', { min: 0, max: 256 }),
  device: deviceOption,
});
const own: Group<typeof schema> = { where: 'pairs', schema };

export function pairsCommand(): Command {
  const command = new Command('pairs')
    .description("store pairs of noise and the teacher's sample of it, for methods that learn from pairs (distill … --pairs)")
    .argument('<teacher>', 'run folder, checkpoint, weights file or bundled name (digit-teacher)')
    .option('--out <file>', 'a .safetensors file', 'pairs.safetensors')
    .option('--json', 'print one JSON object');
  addFlags(command, [own as Group]);
  return command.action(async (teacher: string) => {
    const { flat, own: given } = await gather(command, [own as Group], ['out', 'json']);
    const values: Values<typeof schema> = valuesOf(own, flat);
    const start = performance.now();
    await makePairs(String(given['out']), await loadModel(teacher), { ...values, ...(given['json'] ? {} : { onPace: showPace() }) });
    const seconds = (performance.now() - start) / 1000;
    if (given['json']) say(JSON.stringify({ kind: 'pairs', out: given['out'], teacher, ...values, seconds }));
    else say(`${values.n} pairs of ${teacher} in ${String(given['out'])} after ${seconds.toFixed(0)} s`);
  });
}
