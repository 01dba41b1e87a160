/** @file `onestep forward`: evaluates a network on stored tensors, for debugging and for parity with other code. */
import { Command } from 'commander';
import { InputError } from '../../engine/io/errors.ts';
import { readSafetensors, writeSafetensors } from '../../engine/io/safetensors.ts';
import type { DeviceName } from '../../engine/run/devices.ts';
import { deviceFlag, settled } from '../flags.ts';
import { forward, type LoadedNetwork, readDescribedNetwork, readSnapshot } from '../work/forward.ts';
import { builderOf, loadModel } from '../work/model.ts';

interface Flags {
  readonly input: string;
  readonly output: string;
  readonly network?: string;
  readonly raw: boolean;
  readonly device: DeviceName | 'auto';
}
const HELP = `
Tensors are named by what they are: x, sigma, class_labels, augment_labels give D; with --raw x, noise_labels, … give F.
With cotangent.D (cotangent.F) in the input, the gradients of the sum of D·cotangent are written too: grad.x, grad.sigma, …
and grad.PARAMETER of every parameter.`;

export const forwardCommand = (): Command =>
  new Command('forward')
    .description('evaluate a network on stored tensors, for debugging and for parity with other code')
    .argument(
      '<model>',
      'run folder, checkpoint, model file or bundled name (digit-teacher); a snapshot of NVlabs/edm or edm2 (.pkl); with --network any weights (.safetensors)',
    )
    .requiredOption('--input <file>', 'tensors to evaluate on (.safetensors)')
    .requiredOption('--output <file>', 'where to write the results (.safetensors)')
    .option('--network <file>', "the network of a weights file: JSON with NVlabs/edm's class and init_kwargs")
    .option('--raw', 'without preconditioning', false)
    .addOption(deviceFlag())
    .addHelpText('after', HELP)
    .action(async (model: string, { input, output, network, raw, device: word }: Flags) => {
      const loaded = await networkOf(model, network, raw);
      const { tensors } = await readSafetensors(requireSafetensors(input));
      await writeSafetensors(requireSafetensors(output), await forward(loaded, tensors, { raw, device: await settled(word) }));
    });

async function networkOf(model: string, network: string | undefined, raw: boolean): Promise<LoadedNetwork> {
  if (!model.endsWith('.pkl'))
    return network === undefined ? loadRunNetwork(model, raw) : readDescribedNetwork(requireSafetensors(model), network);
  if (network !== undefined) throw new InputError(`forward: ${model} says which network it is; leave --network out`);
  return readSnapshot(model);
}

function requireSafetensors(path: string): string {
  if (path.endsWith('.safetensors')) return path;
  throw new InputError(`forward: ${path} is no .safetensors file; give one`);
}

/** The network of a model that carries its own description. */
async function loadRunNetwork(spec: string, raw: boolean): Promise<LoadedNetwork> {
  if (raw) throw new InputError(`forward: --raw needs a network described with --network; ${spec} is known with its preconditioning only`);
  const { card, weights } = await loadModel(spec);
  const build = builderOf(card);
  return {
    source: spec,
    sample: card.sample,
    augmentations: Number(card.networkOptions['augmentations'] ?? 0),
    weights,
    build: (scope) => ({ network: build(scope) }),
  };
}
