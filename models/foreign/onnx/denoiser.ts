/** @file An ONNX file as a denoiser: a frozen teacher, or the start of a student. */
import '../../../engine/graph/fluent.ts';
import { cast, less, round, where } from '../../../engine/graph/ops/elementwise.ts';
import { constant, input } from '../../../engine/graph/ops/leaf.ts';
import { reshape, slice } from '../../../engine/graph/ops/movement.ts';
import { reduceSum } from '../../../engine/graph/ops/reduce.ts';
import { show, type Tensor } from '../../../engine/graph/tensor.ts';
import { InputError } from '../../../engine/io/errors.ts';
import type { Condition, Network, SampleType, Scope } from '../../../engine/train/network.ts';
import { recordingScope, type Weights } from '../../../engine/train/weights.ts';
import type { RawNetwork } from '../../precondition.ts';
import { hiddenMaps } from './features.ts';
import { type ImportedOnnx, type ImportOptions, importOnnx, type Port } from './import.ts';
import { findPorts, type PortNames, type Ports } from './ports.ts';
import { byKind, type DenoiserKind, namedSchedule, type ScheduleName, type ScheduleOptions } from './schedules.ts';

export interface OnnxDenoiserOptions extends ImportOptions, ScheduleOptions {
  readonly kind: DenoiserKind;
  readonly schedule: ScheduleName;
  /** Which input is the sample, the time and the class, where names and shapes do not tell. */
  readonly inputs?: PortNames;
  /** Default: the only output, or the first that is shaped like the sample. */
  readonly output?: string;
  /**
   * Hidden maps by the names of values in the file: [N,C,h,w] as they are, tokens [N,L,C] as a square. Default: `bottleneck`, the last value at the
   * resolution of the smallest convolution.
   */
  readonly features?: Readonly<Record<string, string>>;
  /** Classes, where the file takes class numbers. */
  readonly classes?: number;
  /** The class number that stands for no class. Default: without a label the file cannot be asked. */
  readonly nullClass?: number;
}
export interface OnnxDenoiser {
  readonly sample: SampleType;
  /** What else the network is conditioned on, by the names of its inputs, without the batch axis. */
  readonly conditions: Readonly<Record<string, readonly number[]>>;
  /** The network under a scope: constants of `weights` for a teacher, trained ones for a student. */
  readonly build: (scope: Scope) => Network;
  /** Of the initializers that were chosen as trainable; all others are constants of the network. */
  readonly weights: Weights;
  readonly sigmaMin: number;
  readonly sigmaMax: number;
  readonly ports: Ports;
}

/**
 * A denoiser out of an ONNX file.
 * @throws InputError as `importOnnx`, and where sample, time or output cannot be told, or the kind is not defined on the schedule
 */
export const onnxDenoiser = async (path: string, options: OnnxDenoiserOptions): Promise<OnnxDenoiser> =>
  denoiserOf(path, await importOnnx(path, options), options);

/** The same of a file that is imported already. @param path the name for messages */
export function denoiserOf(path: string, file: ImportedOnnx, options: OnnxDenoiserOptions): OnnxDenoiser {
  const ports = findPorts(path, file, options.inputs ?? {}, options.output);
  const schedule = namedSchedule(options.schedule, options);
  const shape = ports.sample.shape.slice(1).map(Number);
  const classes = classesOf(path, ports.class, options);
  const build = (scope: Scope): Network =>
    byKind(path, rawOf(path, file, ports, scope, { ...options, classes }), options.kind, options.schedule, schedule);
  const found: OnnxDenoiser = {
    sample: { shape, classes },
    conditions: Object.fromEntries(ports.others.map((p) => [p.name, p.shape.slice(1).map(Number)])),
    build,
    weights: file.weights,
    sigmaMin: schedule.sigmaMin,
    sigmaMax: schedule.sigmaMax,
    ports,
  };
  tryOut(found);
  return found;
}
/** Builds it once, so that what cannot be asked is said at once. */
function tryOut({ build, sample, ports }: OnnxDenoiser): void {
  const batch = ports.sample.shape[0]!;
  const others = ports.others.map(({ name, shape, dtype }) => [name, input(name, shape, dtype)] as const);
  const label = sample.classes > 0 ? [['label', input('label', [batch, sample.classes])] as const] : [];
  const x = input('x', [batch, ...sample.shape]);
  build(recordingScope('onnx').scope).denoise(
    x,
    input('sigma', ports.time && ports.time.shape[0] !== batch ? [] : [batch, ...sample.shape.map(() => 1)]),
    {
      ...Object.fromEntries([...others, ...label]),
    },
  );
}

function classesOf(path: string, port: Port | undefined, { classes }: OnnxDenoiserOptions): number {
  if (!port) return 0;
  const own = port.dtype === 'float32' ? port.shape[1] : undefined;
  if (typeof own === 'number') return own;
  if (classes === undefined)
    throw new InputError(`${path}: the input ${JSON.stringify(port.name)} takes class numbers; say how many classes there are`);
  return classes;
}

/** Zeros [N], one a sample, whatever x holds. */
function zerosLike(x: Tensor): Tensor {
  const first = x.shape.slice(1).reduce((t: Tensor, _, axis) => slice(t, axis + 1, 0, 1), x);
  const flat = reshape(first, [x.shape[0]!]);
  return where(less(flat, flat), 1, 0);
}
/** The noise label [N] or [1] as the file takes it. */
function timeFor(path: string, port: Port, x: Tensor, noise: Tensor): Tensor {
  const told = port.dtype === 'int64' ? round(noise) : noise;
  const perSample = port.shape.length > 0 && port.shape[0] === 'N';
  if (!perSample && noise.shape[0] !== 1 && noise.shape[0] !== port.shape[0])
    throw new InputError(
      `${path}: the time ${show(port)} is one for all samples, but every sample has its own noise level; export it with a time per sample`,
    );
  const spread = perSample || noise.shape[0] !== 1 ? told.add(zerosLike(x)) : told;
  const shaped = reshape(spread, port.shape.length === 0 ? [] : [spread.shape[0]!, ...port.shape.slice(1)]);
  return port.dtype === 'int64' ? cast(shaped, 'int64') : shaped;
}
/** The label, one-hot or soft [N, classes], as the file takes it. */
function classFor(path: string, port: Port, x: Tensor, label: Tensor | undefined, { classes = 0, nullClass }: OnnxDenoiserOptions): Tensor {
  if (!label && nullClass === undefined && port.dtype === 'int64')
    throw new InputError(
      `${path}: the input ${JSON.stringify(port.name)} needs a class, but there is no label; say which class number stands for none`,
    );
  const rows = zerosLike(x);
  if (port.dtype === 'float32') return label ?? reshape(rows, [rows.shape[0]!, 1]).add(constant(new Float64Array(classes), [1, classes]));
  const numbers = constant(
    Float64Array.from({ length: classes }, (_, i) => i),
    [1, classes],
  );
  const index = label ? reshape(reduceSum(label.mul(numbers), [1]), [label.shape[0]!]) : rows.add(nullClass!);
  return reshape(cast(round(index), 'int64'), [index.shape[0]!, ...port.shape.slice(1)]);
}

/** The file's network with a denoiser's arguments. A learned variance beside the prediction is dropped. */
function rawOf(path: string, file: ImportedOnnx, ports: Ports, scope: Scope, options: OnnxDenoiserOptions): RawNetwork {
  return (x, noise, condition: Condition) => {
    const given: Record<string, Tensor> = { [ports.sample.name]: x };
    if (ports.time) given[ports.time.name] = timeFor(path, ports.time, x, noise);
    if (ports.class) given[ports.class.name] = classFor(path, ports.class, x, condition['label'], options);
    for (const { name } of ports.others) {
      const value = condition[name];
      if (!value) throw new InputError(`${path}: the input ${JSON.stringify(name)} needs a value; give the condition ${name}`);
      given[name] = value;
    }
    const { outputs, values } = file.trace(scope, given);
    const output = outputs[ports.output.name]!;
    const channels = Number(ports.sample.shape[1]);
    return { output: ports.learnedVariance ? slice(output, 1, 0, channels) : output, features: hiddenMaps(path, values, options.features) };
  };
}
