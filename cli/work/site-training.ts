/** @file A method as files that a page trains with: its programs in ONNX, their first state, and what each step is fed. */
import type { Dataset, Split } from '../../data/dataset.ts';
import { toOnnx } from '../../engine/graph/onnx.ts';
import { leafOf, state } from '../../engine/graph/ops/leaf.ts';
import { simplify } from '../../engine/graph/simplify.ts';
import { sizeOf } from '../../engine/graph/tensor.ts';
import { InputError } from '../../engine/io/errors.ts';
import type { HostTensor, Program } from '../../engine/run/runtime.ts';
import type { SampleType } from '../../engine/train/network.ts';
import type { DrawSpec } from '../../engine/train/program.ts';
import type { Trainer } from '../../engine/train/trainer.ts';
import { layoutSize, packedScope } from '../../engine/train/weights.ts';
import type { TrainingManifest, TrainingProgram } from '../../page/training-manifest.ts';
import { studentGraph } from './exporting.ts';
import type { Model } from './model.ts';
import type { Plan } from './plan.ts';
import { leavesOf, type RecordedRun, recording } from './recording.ts';
import { cardOf, type RunRequest } from './run.ts';
import { makeTrainer } from './training.ts';

export interface TrainingFiles {
  readonly manifest: TrainingManifest;
  /** By name, beside the manifest. */
  readonly files: Readonly<Record<string, Uint8Array>>;
}

/** The run that a page makes: no data, every class as often as any other. */
export function pageRun(plan: Plan, teacher: Model): RunRequest {
  const train = withoutData(teacher.card.sample);
  const split: Split = { train, heldOut: train };
  return { plan: { ...plan, run: { ...plan.run, beside: 1 } }, command: 'distill', folder: '', split, teacher, resume: false };
}

function withoutData({ shape, classes }: SampleType): Dataset {
  const [channels = 1, height = 1, width = 1] = shape;
  const labels = classes > 0 ? Int32Array.from({ length: classes }, (_, c) => c) : null;
  const names = labels ? Array.from(labels, String) : null;
  return {
    name: 'none',
    size: 0,
    channels,
    height,
    width,
    images: new Uint8Array(0),
    labels,
    classes: names,
    mayFlip: false,
    licence: 'none',
  };
}

/** What a step is fed where nothing looks at it. */
export const emptyBatch = ({ run }: Plan, { shape, classes }: SampleType) => ({
  images: new Float32Array(run.batch * shape.reduce((a, b) => a * b, 1)),
  labels: classes > 0 ? new Float32Array(run.batch * classes) : null,
});

/**
 * Writes down a whole run and compiles its programs for browsers.
 * @throws InputError for a method that learns from data or that keeps more than its programs do
 */
export async function trainingFiles(plan: Plan, teacher: Model): Promise<TrainingFiles> {
  const request = pageRun(plan, teacher);
  const { runtime, programs, initial, runs } = recording();
  const trainer = await makeTrainer(request, runtime);
  const steps: RecordedRun[][] = [];
  const batch = emptyBatch(plan, teacher.card.sample);
  await trainer.run({
    until: plan.run.steps,
    batch: async () => batch,
    onStep: () => {
      steps.push(runs.splice(0));
    },
  });
  const compiled = trainer.phases.map(({ phase, draws }) => compiledProgram(plan.loss.name, phase, programs.get(phase)!, draws));
  const preview = previewOf(request, trainer);
  const { state: places, values } = packed(initial);
  const programsOf = Object.fromEntries(compiled.map(({ phase, facts }): [string, TrainingProgram] => [phase, facts]));
  const manifest: TrainingManifest = {
    format: 1,
    method: plan.loss.name,
    seed: plan.run.seed,
    batch: plan.run.batch,
    programs: programsOf,
    steps: steps.map((step) =>
      step.map(({ program, scalars }) => ({ program, scalars: programsOf[program]!.scalars.map((name) => scalars[name]!) })),
    ),
    simultaneous: steps.flat().some(({ held }) => held),
    state: places,
    values: 'values.bin',
    preview: preview.facts,
  };
  const files = Object.fromEntries(compiled.map(({ facts, model }) => [facts.file, model]));
  return { manifest, files: { ...files, [manifest.preview.file]: preview.model, [manifest.values]: values } };
}

interface CompiledProgram {
  readonly phase: string;
  readonly model: Uint8Array;
  readonly facts: TrainingProgram;
}

/** A program in ONNX for any runtime. Errors: it looks at data. */
function compiledProgram(
  method: string,
  phase: string,
  { outputs, commit, updates }: Program,
  draws: readonly DrawSpec[],
): CompiledProgram {
  const values = Object.entries({ ...outputs, ...(commit ? { commit } : {}) });
  // States without a value, such as the weights of a discriminator that nothing asks, are left out: browsers have no empty tensors.
  const writes = [...updates].flatMap(([leaf, value]) =>
    sizeOf(leaf.shape as readonly number[]) > 0 ? [[leafOf(leaf)!.label, value] as const] : [],
  );
  const keys = [...values.map(([key]) => `value/${key}`), ...writes.map(([label]) => `next/${label}`)];
  const simple = simplify([...values, ...writes].map(([, value]) => value));
  const { inputs, states } = leavesOf(simple);
  const fed = inputs.map(({ label }) => label);
  const facts = {
    file: `${phase}.onnx`,
    draws: draws.filter(({ name }) => fed.includes(`draw/${name}`)),
    reads: states.map(({ label }) => label),
    writes: writes.map(([label]) => label),
    terms: values.map(([key]) => key),
    scalars: inputs.filter(({ label, shape }) => shape.length === 0 && !label.startsWith('draw/')).map(({ label }) => label),
  };
  const data = fed.find((label) => !label.startsWith('draw/') && !facts.scalars.includes(label));
  if (data)
    throw new InputError(
      `page: the ${phase} of ${method} is fed ${data}, and a page has no data; choose a method and settings without, such as dmd2 with ganWeight 0`,
    );
  return { phase, facts, model: toOnnx(Object.fromEntries(keys.map((key, i) => [key, simple[i]!])), { target: 'any' }) };
}

/** The student while it trains: the average that would be kept. */
function previewOf(request: RunRequest, trainer: Trainer): { readonly model: Uint8Array; readonly facts: TrainingManifest['preview'] } {
  const card = cardOf(request, { step: 0, nimg: 0 });
  const layout = trainer.layouts['student'];
  if (!layout || !card.levels || card.experts)
    throw new InputError(`page: ${card.method} trains no student of one network; choose another method`);
  const label = card.average ? `student/average/${card.average}` : 'student';
  const { name, value } = studentGraph(card, packedScope(state(label, [layoutSize(layout)]), layout, trainer.fixed['student']!));
  const [simple] = simplify([value]);
  const noises = leavesOf([simple!]).inputs.filter(({ label: fed }) => fed !== 'label').length;
  const { shape, classes } = card.sample;
  const model = toOnnx({ [name]: simple! }, { target: 'any' });
  return { model, facts: { file: 'preview.onnx', state: label, shape, classes, noises } };
}

/** States one after another; equal ones are stored once, zeros not at all. */
function packed(initial: ReadonlyMap<string, HostTensor>): { readonly state: TrainingManifest['state']; readonly values: Uint8Array } {
  const state: Record<string, { size: number; offset: number | null }> = {};
  const stored: { readonly data: Float32Array; readonly offset: number }[] = [];
  let end = 0;
  for (const [label, { data }] of initial) {
    const values = data as Float32Array;
    if (values.length === 0) continue;
    if (values.every((v) => v === 0)) {
      state[label] = { size: values.length, offset: null };
      continue;
    }
    const before = stored.find((one) => one.data.length === values.length && one.data.every((v, i) => v === values[i]));
    if (!before) {
      stored.push({ data: values, offset: end });
      end += values.length;
    }
    state[label] = { size: values.length, offset: (before ?? stored.at(-1)!).offset };
  }
  const all = new Float32Array(end);
  for (const { data, offset } of stored) all.set(data, offset);
  return { state, values: new Uint8Array(all.buffer) };
}
