/** @file Runs a network on stored inputs and compares outputs, gradients and gradient probes with stored values. */
import { readFileSync } from 'node:fs';
import '../../engine/graph/fluent.ts';
import { gradients } from '../../engine/graph/gradients.ts';
import { input } from '../../engine/graph/ops/leaf.ts';
import { evaluate } from '../../engine/graph/reference.ts';
import { Tensor } from '../../engine/graph/tensor.ts';
import { readSafetensors, type StoredTensor, toBigInt64, toFloat32 } from '../../engine/io/safetensors.ts';
import { ortRuntime } from '../../engine/run/ort.ts';
import { float32, type HostTensor, int64 } from '../../engine/run/runtime.ts';
import type { Scope } from '../../engine/train/network.ts';
import { checkWeights, initialise, recordingScope, type Weights } from '../../engine/train/weights.ts';

type Names = Readonly<Record<string, string>>;
/** Roles and the names of their tensors. A probe is the L2 norm, the dot product with cos(0), cos(1), … and the tolerance of both. */
export interface GoldenCase {
  readonly name: string;
  readonly inputs: Names;
  readonly outputs: Names;
  readonly cotangents: Names;
  readonly gradients: { readonly inputs: Names; readonly parameters: Names };
  readonly gradient_probes?: Readonly<Record<string, readonly [number, number, number]>>;
}
export interface GoldenFile<Extra = unknown> {
  readonly facts: {
    readonly cases: readonly GoldenCase[];
    readonly tolerance: Readonly<Record<string, number | readonly number[]>>;
  } & Extra;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

export const readFacts = <Extra>(path: string): GoldenFile<Extra>['facts'] => JSON.parse(readFileSync(path, 'utf8'));

/** NAME.json and NAME.safetensors beside it. */
export const readGolden = async <Extra>(path: string): Promise<GoldenFile<Extra>> => ({
  facts: readFacts<Extra>(path),
  tensors: (await readSafetensors(path.replace(/json$/, 'safetensors'))).tensors,
});

export const hostTensor = (stored: StoredTensor): HostTensor =>
  stored.dtype === 'I64' ? int64(toBigInt64(stored), stored.shape) : float32(toFloat32(stored), stored.shape);

export async function readWeights(path: string): Promise<Weights> {
  const { tensors } = await readSafetensors(path);
  return new Map([...tensors].map(([name, t]) => [name, { shape: t.shape, data: toFloat32(t) }]));
}

/** Builds the output of one case, or several by role, from its named inputs. */
export type Forward = (scope: Scope, inputs: Readonly<Record<string, Tensor>>) => Tensor | Readonly<Record<string, Tensor>>;

export interface CaseOptions {
  readonly weights: Weights;
  /** Where a parameter is not in `weights`, its initial value is used: fixed filters, which single layers are stored without. */
  readonly partial?: boolean;
  /** Runs in float64 by the interpreter, not in float32 by ONNX Runtime. */
  readonly exact?: boolean;
  /** What is compared as gradient of a stored parameter name; default: the gradient of the parameter itself. */
  readonly stored?: (gradients: ReadonlyMap<string, ArrayLike<number>>, name: string) => ArrayLike<number>;
}

/** What does not agree, one line each. */
export async function mismatches(golden: GoldenFile, test: GoldenCase, forward: Forward, options: CaseOptions): Promise<string[]> {
  const { scope, declared, tensors } = recordingScope('net');
  const feeds = Object.fromEntries(
    Object.entries(test.inputs).map(([role, name]) => [`in/${role}`, hostTensor(golden.tensors.get(name)!)]),
  );
  const inputs = Object.fromEntries(
    Object.keys(test.inputs).map((role) => [role, input(`in/${role}`, feeds[`in/${role}`]!.shape, feeds[`in/${role}`]!.dtype)]),
  );
  const made = forward(scope, inputs);
  const ys = made instanceof Tensor ? { [Object.keys(test.outputs)[0]!]: made } : made;
  const products = Object.entries(test.cotangents).map(([role, name]) => {
    feeds[`cotangent/${role}`] = hostTensor(golden.tensors.get(name)!);
    return ys[role]!.mul(input(`cotangent/${role}`, ys[role]!.shape)).sum();
  });
  if (!options.partial) checkWeights('test', declared.values(), options.weights);
  const weights = new Map([...initialise(declared.values(), 0, 'net'), ...options.weights]);
  const wanted = new Map([
    ...Object.keys(test.gradients.inputs).map((name) => [`in/${name}`, inputs[name]!] as const),
    ...[...tensors].filter(([name]) => declared.get(name)!.trained),
  ]);
  const total = products.length > 0 ? products.reduce((a, b) => a.add(b)) : null;
  const dxs = total ? gradients(total, [...wanted.values()]) : [];
  if (!total) wanted.clear();
  const values = await run(
    {
      ...Object.fromEntries(Object.entries(ys).map(([role, y]) => [`y ${role}`, y])),
      ...Object.fromEntries([...wanted.keys()].map((name, i) => [`d ${name}`, dxs[i]!])),
    },
    feeds,
    weights,
    options.exact,
  );
  const found = new Map([...wanted.keys()].map((name) => [name, values[`d ${name}`]!]));
  const stored = options.stored ?? ((all, name) => all.get(name)!);
  const compare = (what: string, name: string, got: ArrayLike<number>): string[] => {
    const worst = excess(got, toFloat32(golden.tensors.get(name)!), golden.facts.tolerance[name]!);
    return worst <= 1 ? [] : [`${test.name}: ${what} is off by ${worst.toPrecision(3)} tolerances`];
  };
  const probes = Object.entries(test.gradient_probes ?? {});
  return [
    ...Object.entries(test.outputs).flatMap(([role, name]) => compare(`output ${role}`, name, values[`y ${role}`]!)),
    ...Object.entries(test.gradients.inputs).flatMap(([name, tensor]) => compare(`d ${name}`, tensor, found.get(`in/${name}`)!)),
    ...Object.entries(test.gradients.parameters).flatMap(([name, tensor]) => compare(`d ${name}`, tensor, stored(found, name))),
    ...probes.flatMap(([name, probe]) => probeFaults(`${test.name}: d ${name}`, stored(found, name), probe)),
    ...(probes.length === 0 || options.stored ? [] : unprobed(found, test)),
  ];
}

/** Parameters that no probe covers must have no gradient. */
const unprobed = (found: ReadonlyMap<string, ArrayLike<number>>, test: GoldenCase): string[] =>
  [...found]
    .filter(([name, d]) => !name.startsWith('in/') && !(name in test.gradient_probes!) && Array.from(d).some((v) => v !== 0))
    .map(([name]) => `${test.name}: ${name} has a gradient and should have none`);

async function run(
  outputs: Readonly<Record<string, Tensor>>,
  feeds: Readonly<Record<string, HostTensor>>,
  weights: Weights,
  exact = false,
): Promise<Record<string, ArrayLike<number>>> {
  const states = Object.fromEntries([...weights].map(([name, w]) => [`net/${name}`, float32(w.data, w.shape)]));
  if (exact) {
    const data = Object.fromEntries(Object.entries({ ...feeds, ...states }).map(([name, t]) => [name, t.data]));
    return Object.fromEntries(evaluate(Object.values(outputs), data).map((v, i) => [Object.keys(outputs)[i]!, v.data]));
  }
  const runtime = ortRuntime({ threads: 1 });
  const { program } = await runtime.compile({ program: { outputs, updates: new Map() } }, runtime.state(states));
  try {
    return Object.fromEntries(Object.entries(await program!.run(feeds)).map(([name, t]) => [name, t.data as Float32Array]));
  } finally {
    await program!.close();
  }
}

/** The largest difference in units of the tolerance, which is one number or one per sample. */
function excess(got: ArrayLike<number>, want: ArrayLike<number>, tolerance: number | readonly number[]): number {
  if (got.length !== want.length) return Number.POSITIVE_INFINITY;
  const perSample = typeof tolerance === 'number' ? [tolerance] : tolerance;
  const each = want.length / perSample.length;
  let worst = 0;
  for (let i = 0; i < want.length; i++) {
    const off = got[i] === want[i] ? 0 : Math.abs(got[i]! - want[i]!) / perSample[Math.floor(i / each)]!;
    if (Number.isNaN(off)) return Number.POSITIVE_INFINITY;
    worst = Math.max(worst, off);
  }
  return worst;
}

function probeFaults(what: string, d: ArrayLike<number> | undefined, [norm, dot, tolerance]: readonly [number, number, number]): string[] {
  if (!d) return norm === 0 ? [] : [`${what}: there is no such parameter`]; // what is not trained has no gradient
  const values = Array.from(d);
  const got = [Math.hypot(...values), values.reduce((s, v, i) => s + v * Math.cos(i), 0)];
  const off = Math.max(...got.map((v, i) => (v === [norm, dot][i] ? 0 : Math.abs(v - [norm, dot][i]!) / tolerance)));
  return off <= 1 ? [] : [`${what} is off by ${off.toPrecision(3)} tolerances`];
}
