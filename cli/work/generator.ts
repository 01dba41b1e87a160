/** @file Draws samples: compiles one step of a sampler per place of the trajectory and walks the levels on the host. */
import { input, leafOf } from '../../engine/graph/ops/leaf.ts';
import type { Shape, Tensor } from '../../engine/graph/tensor.ts';
import { topological } from '../../engine/graph/tensor.ts';
import { InputError } from '../../engine/io/errors.ts';
import { fillNormal, fillUniform, streamKey } from '../../engine/random/philox.ts';
import { ortRuntime } from '../../engine/run/ort.ts';
import { type Executable, float32, type HostTensor, scalar } from '../../engine/run/runtime.ts';
import type { Draw } from '../../engine/train/loss.ts';
import type { Place } from '../../engine/train/sampler.ts';
import { constantScope } from '../../engine/train/weights.ts';
import { clipped } from '../../samplers/clip.ts';
import { guided } from '../../samplers/guidance.ts';
import { numbersAt, placeOf } from '../../samplers/steps.ts';
import { builderOf, type Model } from './model.ts';
import { type Solver, type SolverOptions, solverOf } from './solver.ts';

export interface GeneratorOptions extends SolverOptions {
  readonly guidance?: number;
  /** Bound of the denoised sample at every step; 0 for none. */
  readonly clip?: number;
  readonly batch?: number;
  readonly threads?: number;
}
export interface SampleRequest {
  /** Class of each sample; null without classes. */
  readonly labels: ArrayLike<number> | null;
  readonly n: number;
  readonly seed: number;
  /** Called after each batch with the number done. */
  readonly onProgress?: (done: number) => void;
}
export interface Generator {
  /** Network evaluations per sample. */
  readonly nfe: number;
  readonly sampler: string;
  /** Samples [n, …sample]; sample i depends on (seed, i) alone, not on the batch size. */
  generate(request: SampleRequest): Promise<Float32Array>;
  close(): Promise<void>;
}

interface Step {
  readonly executable: Executable;
  readonly draws: readonly { readonly name: string; readonly kind: 'normal' | 'uniform'; readonly shape: Shape }[];
  readonly carried: readonly string[];
  /** Inputs that the graph really uses. */
  readonly used: ReadonlySet<string>;
}

/** Prepares sampling. Errors: those of `solverOf`, or guidance without classes. */
export function openGenerator(model: Model, options: GeneratorOptions = {}): Generator {
  const { card } = model;
  const solver = solverOf(model, options);
  const { name, sampler, levels } = solver;
  if ((options.guidance ?? 1) !== 1 && card.sample.classes === 0)
    throw new InputError(`sample: guidance ${options.guidance} needs a model with classes`);
  const places = levels.map((_, i) => placeOf(i, levels[i + 1] ?? 0, sampler.opening));
  const compiled = new Map<Place, Promise<Step>>();
  const stepAt = (place: Place): Promise<Step> => {
    if (!compiled.has(place)) compiled.set(place, compileStep(model, solver, place, options));
    return compiled.get(place)!;
  };
  return {
    nfe: places.reduce((sum, place) => sum + sampler.evaluations(place), 0) * ((options.guidance ?? 1) === 1 ? 1 : 2),
    sampler: name,
    async generate({ labels, n, seed, onProgress }) {
      const size = card.sample.shape.reduce((a, b) => a * b, 1);
      const out = new Float32Array(n * size);
      const batch = options.batch ?? 100;
      for (let first = 0; first < n; first += batch) {
        const count = Math.min(batch, n - first);
        const label = labels ? oneHot(labels, first, count, card.sample.classes) : null;
        out.set(await walk({ model, solver, places, stepAt, first, count, label, seed }), first * size);
        onProgress?.(first + count);
        await new Promise((resolve) => setImmediate(resolve)); // a run blocks the event loop: let signals through
      }
      return out;
    },
    async close() {
      for (const step of compiled.values()) await (await step).executable.close();
    },
  };
}

interface Walk {
  readonly model: Model;
  readonly solver: Solver;
  readonly places: readonly Place[];
  readonly stepAt: (place: Place) => Promise<Step>;
  readonly first: number;
  readonly count: number;
  readonly label: HostTensor | null;
  readonly seed: number;
}
async function walk({ model, solver: { sampler, levels }, places, stepAt, first, count, label, seed }: Walk): Promise<Float32Array> {
  const shape = [count, ...model.card.sample.shape];
  const noise = sampleNoise(shape, seed, 0, first);
  const start = float32(
    (noise.data as Float32Array).map((v) => v * levels[0]!),
    shape,
  );
  let carry: Readonly<Record<string, HostTensor>> | null = null;
  for (const [i, sigma] of levels.entries()) {
    const step = await stepAt(places[i]!);
    const feeds: Record<string, HostTensor> = {
      'level/previous': scalar(levels[i - 1] ?? 0),
      'level/sigma': scalar(sigma),
      'level/next': scalar(levels[i + 1] ?? 0),
      'level/steps': scalar(levels.length),
    };
    for (const [key, value] of Object.entries(numbersAt(sampler, levels, i))) feeds[`number/${key}`] = scalar(value);
    for (const key of step.carried) feeds[`carry/${key}`] = carry?.[key] ?? start;
    for (const d of step.draws)
      feeds[`draw/${d.name}`] = draw(d.kind, `sample/${d.name}`, [count, ...(d.shape.slice(1) as number[])], seed, i + 1, first);
    if (label) feeds['label'] = label;
    carry = await step.executable.run(Object.fromEntries(Object.entries(feeds).filter(([key]) => step.used.has(key))));
  }
  return carry!['x']!.data as Float32Array;
}

/**
 * The noise of a student's k-th call for samples `first`, `first` + 1, …: unit normal, shaped [count, …sample]. The first call starts from it; later
 * ones are made noisy with it. A finished student is fed the same, so that it gives the same samples.
 */
export const sampleNoise = (shape: readonly number[], seed: number, k: number, first: number): HostTensor =>
  draw('normal', k === 0 ? 'sample/z' : 'sample/fresh', shape, seed, k, first);

function draw(kind: 'normal' | 'uniform', name: string, shape: readonly number[], seed: number, step: number, first: number): HostTensor {
  const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
  (kind === 'normal' ? fillNormal : fillUniform)(data, streamKey(seed, step, name), data.length / shape[0]!, first);
  return float32(data, shape);
}

export function oneHot(labels: ArrayLike<number>, first: number, count: number, classes: number): HostTensor {
  const data = new Float32Array(count * classes);
  for (let i = 0; i < count; i++) data[i * classes + labels[first + i]!] = 1;
  return float32(data, [count, classes]);
}

async function compileStep(model: Model, { sampler, levels }: Solver, place: Place, options: GeneratorOptions): Promise<Step> {
  const { sample } = model.card;
  const network = builderOf(model.card)(constantScope(model.weights));
  const condition = sample.classes > 0 ? { label: input('label', ['N', sample.classes]) } : {};
  const { guidance = 1, clip = 0 } = options;
  // What a sampler tells the network stands beside the null condition too.
  const denoise = clipped(
    (x, sigma, told = {}) => guided((...given) => network.denoise(...given), guidance, told)(x, sigma, { ...condition, ...told }),
    clip,
  );
  const draws: Step['draws'][number][] = [];
  const declare =
    (kind: 'normal' | 'uniform') =>
    (name: string, like: { readonly shape: Shape }): Tensor => {
      draws.push({ name, kind, shape: like.shape });
      return input(`draw/${name}`, like.shape);
    };
  const drawing: Draw = { normal: declare('normal'), uniform: declare('uniform'), condition: () => ({}) };
  const carried = Object.fromEntries(
    Object.entries(sampler.start(input('carry/x', ['N', ...sample.shape]))).map(([key, t]) => [key, input(`carry/${key}`, t.shape)]),
  );
  const around = {
    previous: input('level/previous', []),
    sigma: input('level/sigma', []),
    next: input('level/next', []),
    steps: input('level/steps', []),
    numbers: Object.fromEntries(Object.keys(numbersAt(sampler, levels, 0)).map((key) => [key, input(`number/${key}`, [])])),
  };
  const outputs = sampler.step(denoise, carried as never, around, drawing, place);
  const used = new Set(topological(Object.values(outputs)).flatMap((node) => leafOf(node.outputs[0]!)?.label ?? []));
  const runtime = ortRuntime(options.threads ? { threads: options.threads } : {});
  const { step } = await runtime.compile({ step: { outputs, updates: new Map() } }, runtime.state({}));
  return { executable: step!, draws, carried: Object.keys(carried), used };
}
