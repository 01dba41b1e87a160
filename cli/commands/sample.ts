/** @file `onestep sample`: draws samples from a teacher, a student or a finished student file. */
import { Command } from 'commander';
import { options, text, whole, wholes } from '../../engine/train/options.ts';
import { type Group, valuesOf } from '../config.ts';
import { addFlags, gather } from '../flags.ts';
import { say, short } from '../output.ts';
import { showPace } from '../show.ts';
import { drawSamples, labelsFor, promptsFor } from '../work/drawing.ts';
import { hybridGroup, openDrawn } from '../work/hybrid.ts';
import { readPrompts } from '../work/prompts.ts';
import { destinationOf, writeSamples } from '../work/sample-files.ts';
import { drawing, samplerGroups } from '../work/source.ts';

const own: Group = {
  where: 'sample',
  schema: options({
    n: whole(64, 'samples', { min: 1, max: 10_000_000 }),
    prompt: text('', 'text to draw, for models that take texts'),
    prompts: text('', 'file with a prompt a line, taken in turn'),
    label: wholes([], 'classes, taken in turn; every class where none are given', { min: 0 }),
  }),
};
const GROUPS: readonly Group[] = [own, drawing as Group, hybridGroup as Group, ...samplerGroups];

export function sampleCommand(): Command {
  const command = new Command('sample')
    .description('draw samples: a picture, a folder of pictures, or tensors')
    .argument('<model>', 'run folder, checkpoint, model file, bundled name (digit-teacher) or a finished student (.onnx)')
    .option('--out <path>', 'a .png sheet with a row for each class, a .safetensors file, or a folder', 'samples.png')
    .option('--json', 'print one JSON object');
  addFlags(command, GROUPS);
  return command.action(async (model: string) => {
    const { flat, own: given } = await gather(command, GROUPS, ['out', 'json']);
    const { n, label, prompt, prompts } = valuesOf(own, flat) as { n: number; label: number[]; prompt: string; prompts: string };
    const { seed } = valuesOf(drawing, flat);
    const source = await openDrawn(model, flat);
    try {
      const labels = labelsFor(source, label, n);
      const destination = await destinationOf(String(given['out']), source.sample.shape);
      const asked = [...(prompt === '' ? [] : [prompt]), ...(prompts === '' ? [] : await readPrompts(prompts))];
      const conditions = await promptsFor(source, asked, given['json'] ? () => {} : say);
      const drawn = await drawSamples(source, { n, seed, labels, ...conditions }, given['json'] ? undefined : showPace());
      const { nfe, sampler } = source.generator;
      const { seconds, imagesPerSecond } = drawn;
      const facts = { model, n, seed, sampler, nfe };
      await writeSamples(
        destination,
        drawn,
        source.sample.shape,
        Object.fromEntries(Object.entries(facts).map(([name, value]) => [name, String(value)])),
      );
      if (given['json']) say(JSON.stringify({ kind: 'samples', out: destination.path, ...facts, seconds, imagesPerSecond }));
      else
        say(
          `${n} samples of ${model} in ${destination.path}: sampler ${sampler}, NFE ${nfe}, ${short(imagesPerSecond)} images/s, seed ${seed}`,
        );
    } finally {
      await source.generator.close();
    }
  });
}
