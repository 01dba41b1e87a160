/** @file Evaluates a network, and its gradients, on stored tensors that are named by role: for debugging and for parity with other code. */
import { readFile } from 'node:fs/promises';
import { gradients } from '../../engine/graph/gradients.ts';
import { input } from '../../engine/graph/ops/leaf.ts';
import { reshape } from '../../engine/graph/ops/movement.ts';
import type { Tensor } from '../../engine/graph/tensor.ts';
import { InputError } from '../../engine/io/errors.ts';
import { fileFailure } from '../../engine/io/failures.ts';
import { fromFloat32, readSafetensors, type StoredTensor, toFloat32 } from '../../engine/io/safetensors.ts';
import { type DeviceName, deviceOf } from '../../engine/run/devices.ts';
import { float32 } from '../../engine/run/runtime.ts';
import type { Network, SampleType, Scope } from '../../engine/train/network.ts';
import { checkWeights, recordingScope, type Weights } from '../../engine/train/weights.ts';
import { edmModel } from '../../models/edm.ts';
import { loadEdm } from '../../models/foreign/edm-checkpoint.ts';
import type { RawNetwork } from '../../models/precondition.ts';

/** A network with its weights. */
export interface LoadedNetwork {
  /** Where it comes from, for messages. */
  readonly source: string;
  readonly sample: SampleType;
  /** Length of its augmentation label; 0 without. */
  readonly augmentations: number;
  /** What the network without preconditioning gives; as the sample where it is not said. */
  readonly rawShape?: readonly number[];
  readonly weights: Weights;
  /** The denoiser and, where it is known, the network without preconditioning. */
  build(scope: Scope): { readonly network: Network; readonly raw?: RawNetwork };
}
export interface ForwardOptions {
  /** Without preconditioning: `noise_labels` instead of `sigma`, and the output F instead of D. */
  readonly raw?: boolean;
  /** Threads of the runtime; 0 = all cores. */
  readonly threads?: number;
  readonly device?: DeviceName;
}
type Stored = ReadonlyMap<string, StoredTensor>;
type Shape = readonly number[];

/**
 * A weights file whose network is described by a JSON file with NVlabs/edm's `class` (or `made_by.class`) and `init_kwargs`.
 * @throws InputError for files that cannot be read and for networks that are not supported
 */
export async function readDescribedNetwork(weightsPath: string, networkPath: string): Promise<LoadedNetwork> {
  const { className, kwargs } = await readDescription(networkPath);
  const { sample, augmentations, rawShape, build } = edmModel(className, kwargs);
  const { tensors } = await readSafetensors(weightsPath);
  const weights = new Map([...tensors].map(([name, t]) => [name, { shape: t.shape, data: toFloat32(t) }]));
  return { source: weightsPath, sample, augmentations, rawShape, weights, build };
}

/** The network of a snapshot of NVlabs/edm or edm2 (.pkl). Errors as in `loadEdm`. */
export async function readSnapshot(path: string): Promise<LoadedNetwork> {
  const { source, model, weights } = await loadEdm(path);
  const { sample, augmentations, rawShape, build } = model;
  return { source, sample, augmentations, rawShape, weights, build };
}

async function readDescription(path: string): Promise<{ readonly className: string; readonly kwargs: Readonly<Record<string, unknown>> }> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw fileFailure('read', path, error);
  });
  const facts = parseObject(path, text);
  const madeBy = isObject(facts['made_by']) ? facts['made_by'] : {};
  const className = facts['class'] ?? madeBy['class'];
  const kwargs = facts['init_kwargs'];
  if (typeof className !== 'string') throw new InputError(`${path}: there is no class; give "class" and "init_kwargs"`);
  if (!isObject(kwargs)) throw new InputError(`${path}: init_kwargs is ${JSON.stringify(kwargs)}; it should be an object of arguments`);
  return { className, kwargs };
}
const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
function parseObject(path: string, text: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new InputError(`${path}: is not JSON; give a file with "class" and "init_kwargs"`);
  }
  if (!isObject(value)) throw new InputError(`${path}: holds no JSON object; give a file with "class" and "init_kwargs"`);
  return value;
}

/** A tensor that may be given: the shapes it may have for a batch of n. */
interface Role {
  readonly shapes: (n: number) => readonly Shape[];
  readonly required: boolean;
}

/** What a network takes, by name. */
function rolesOf({ sample, augmentations, rawShape = sample.shape }: LoadedNetwork, raw: boolean): Readonly<Record<string, Role>> {
  const one = (...rest: Shape) => ({ shapes: (n: number) => [[n, ...rest]], required: false });
  const broadcast = sample.shape.map(() => 1);
  return {
    x: { ...one(...sample.shape), required: true },
    ...(raw
      ? { noise_labels: { shapes: (n) => [[n], [1]], required: true } }
      : { sigma: { shapes: (n) => [[n], [1], [], [n, ...broadcast]], required: true } }),
    ...(sample.classes > 0 ? { class_labels: one(sample.classes) } : {}),
    ...(augmentations > 0 ? { augment_labels: one(augmentations) } : {}),
    [`cotangent.${raw ? 'F' : 'D'}`]: one(...(raw ? rawShape : sample.shape)),
  };
}

/** Errors: unknown names, missing ones, shapes that do not fit. */
function checkRoles(roles: Readonly<Record<string, Role>>, tensors: Stored): void {
  const takes = Object.keys(roles).join(', ');
  const unknown = [...tensors.keys()].filter((name) => !Object.hasOwn(roles, name));
  if (unknown.length > 0) throw new InputError(`forward: unknown tensors ${unknown.join(', ')}; this network takes ${takes}`);
  const missing = Object.keys(roles).filter((name) => roles[name]!.required && !tensors.has(name));
  if (missing.length > 0) throw new InputError(`forward: ${missing.join(' and ')} missing; this network takes ${takes}`);
  const n = tensors.get('x')!.shape[0] ?? 0;
  for (const [name, { shape }] of tensors) {
    const fits = n > 0 && roles[name]!.shapes(n).some((s) => s.join() === shape.join());
    const wanted = roles[name]!.shapes(n || Number.NaN).map((s) => `[${s.join(',')}]`.replaceAll('NaN', 'N'));
    if (!fits) throw new InputError(`forward: ${name} is [${shape.join(',')}]; it should be ${[...new Set(wanted)].join(' or ')}`);
  }
}

/**
 * The output `D` (`F` without preconditioning) on the tensors `x`, `sigma` (`noise_labels`), `class_labels`, `augment_labels`; and where
 * `cotangent.D` is given, the gradients of Σ D·cotangent: `grad.<input>` of every input and `grad.<parameter>` of every parameter.
 * @throws InputError for tensors that do not fit the network, and for weights that do not: the first three are named
 */
export async function forward(
  loaded: LoadedNetwork,
  tensors: Stored,
  { raw = false, threads = 0, device }: ForwardOptions = {},
): Promise<Map<string, StoredTensor>> {
  checkRoles(rolesOf(loaded, raw), tensors);
  const { scope, declared, tensors: parameters } = recordingScope('net');
  const given = new Map([...tensors].map(([name, t]) => [name, input(name, t.shape)]));
  const y = outputOf(loaded, scope, given, raw);
  checkWeights(loaded.source, declared.values(), loaded.weights);
  const output = raw ? 'F' : 'D';
  const cotangent = given.get(`cotangent.${output}`);
  const wanted = [...[...given].filter(([, t]) => t !== cotangent), ...[...parameters].filter(([name]) => declared.get(name)!.trained)];
  const slopes = cotangent
    ? gradients(
        y,
        wanted.map(([, t]) => t),
        cotangent,
      )
    : [];
  const outputs = Object.fromEntries([[output, y], ...slopes.map((t, i) => [`grad.${wanted[i]![0]}`, t] as const)]);
  const runtime = deviceOf(device).runtime({ threads });
  const state = runtime.state(Object.fromEntries([...loaded.weights].map(([name, w]) => [`net/${name}`, float32(w.data, w.shape)])));
  const { program } = await runtime.compile({ program: { outputs, updates: new Map() } }, state);
  try {
    const found = await program!.run(Object.fromEntries([...tensors].map(([name, t]) => [name, float32(toFloat32(t), t.shape)])));
    return new Map(Object.entries(found).map(([name, t]) => [name, fromFloat32(t.data as Float32Array, t.shape)]));
  } finally {
    await program!.close();
  }
}

/** The graph of the output; the noise level is shaped to broadcast against x. */
function outputOf({ build, source, sample }: LoadedNetwork, scope: Scope, given: ReadonlyMap<string, Tensor>, raw: boolean): Tensor {
  const built = build(scope);
  const x = given.get('x')!;
  const [label, augment] = [given.get('class_labels'), given.get('augment_labels')];
  const condition = { ...(label ? { label } : {}), ...(augment ? { augment } : {}) };
  if (!raw) {
    const sigma = given.get('sigma')!;
    const perSample = sigma.shape[0] === x.shape[0] && sigma.shape.length > 0;
    return built.network.denoise(x, reshape(sigma, perSample ? [x.shape[0]!, ...sample.shape.map(() => 1)] : []), condition);
  }
  if (!built.raw) throw new InputError(`${source}: this network is not known without its preconditioning; leave --raw out`);
  return built.raw(x, given.get('noise_labels')!, condition).output;
}
