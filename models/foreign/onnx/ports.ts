/** @file Which input of an ONNX denoiser is the sample, the time and the class: by name, then by shape. */
import { show } from '../../../engine/graph/tensor.ts';
import { InputError } from '../../../engine/io/errors.ts';
import type { ImportedOnnx, Port } from './import.ts';

export interface PortNames {
  readonly sample?: string;
  readonly time?: string;
  readonly class?: string;
}
export interface Ports {
  readonly sample: Port;
  /** Undefined for a network that is told no time. */
  readonly time: Port | undefined;
  readonly class: Port | undefined;
  /** What else it is conditioned on. */
  readonly others: readonly Port[];
  readonly output: Port;
  /** The output has twice the channels of the sample: the second half is a variance. */
  readonly learnedVariance: boolean;
}

const NAMES = {
  sample: /^(sample|x|x_?t|noisy.*|latents?|latent_sample|hidden_states|image|images|noise)$/i,
  time: /^(t|timesteps?|time|times|sigmas?|noise_?(level|labels?)|c_?noise|log_?snr)$/i,
  class: /^(y|label|labels|class|classes|class_?(id|ids|label|labels))$/i,
} as const;

const listed = (ports: readonly Port[]): string => ports.map((p) => `${p.name} ${show(p)}`).join(', ') || 'none';
function named(where: string, ports: readonly Port[], what: string, name: string): Port {
  const found = ports.find((p) => p.name === name);
  if (!found) throw new InputError(`${where}: has no ${what} called ${JSON.stringify(name)}; there are ${listed(ports)}`);
  return found;
}

/** The output that a sample of this shape comes back as, if there is one. */
const answerTo = (sample: Port, outputs: readonly Port[]): Port | undefined =>
  outputs.find((o) => o.shape.slice(1).join() === sample.shape.slice(1).join()) ??
  outputs.find(
    (o) =>
      o.shape.length === sample.shape.length &&
      o.shape.length > 2 &&
      Number(o.shape[1]) === 2 * Number(sample.shape[1]) &&
      o.shape.slice(2).join() === sample.shape.slice(2).join(),
  );

function sampleOf(where: string, { inputs, outputs }: ImportedOnnx, name: string | undefined): Port {
  if (name !== undefined) return named(where, inputs, 'input', name);
  const fitting = inputs.filter((p) => p.dtype === 'float32' && p.shape.length >= 2 && answerTo(p, outputs));
  const found = fitting.find((p) => NAMES.sample.test(p.name)) ?? (fitting.length === 1 ? fitting[0] : undefined);
  if (!found)
    throw new InputError(
      `${where}: it cannot be told which input is the sample; there are ${listed(inputs)}, and the outputs ${listed(outputs)}: say which`,
    );
  return found;
}
const isTime = ({ shape }: Port): boolean => shape.slice(1).every((d) => d === 1);
const isClass = ({ shape, dtype }: Port): boolean =>
  dtype === 'int64' ? shape.length <= 2 && shape.slice(1).every((d) => d === 1) : shape.length === 2 && Number(shape[1]) > 1;

/** @throws InputError for names that do not exist, and where sample, time or output cannot be told */
export function findPorts(where: string, file: ImportedOnnx, names: PortNames, output: string | undefined): Ports {
  const sample = sampleOf(where, file, names.sample);
  const rest = file.inputs.filter((p) => p !== sample);
  const byName = (kind: 'time' | 'class', fits: (p: Port) => boolean): Port | undefined =>
    rest.find((p) => NAMES[kind].test(p.name) && fits(p));
  const labelled = names.class === undefined ? byName('class', isClass) : named(where, rest, 'input', names.class);
  const unnamed = rest.filter((p) => p !== labelled && isTime(p));
  const time =
    names.time === undefined
      ? (byName('time', isTime) ?? (unnamed.length === 1 ? unnamed[0] : undefined))
      : named(where, rest, 'input', names.time);
  if (!time && unnamed.length > 1)
    throw new InputError(`${where}: it cannot be told which input is the time: ${listed(unnamed)}; say which`);
  const answer = output === undefined ? answerTo(sample, file.outputs) : named(where, file.outputs, 'output', output);
  if (!answer) throw new InputError(`${where}: no output is shaped like the sample ${show(sample)}; there are ${listed(file.outputs)}`);
  const same = answer.shape.slice(1).join() === sample.shape.slice(1).join();
  if (!same && answerTo(sample, [answer]) === undefined)
    throw new InputError(`${where}: the output ${answer.name} ${show(answer)} is not shaped like the sample ${show(sample)}`);
  return {
    sample,
    time,
    class: labelled,
    others: rest.filter((p) => p !== time && p !== labelled),
    output: answer,
    learnedVariance: !same,
  };
}
