/** @file Trains in the browser: runs the programs of a method step by step on a state that stays on the device. */
import type { InferenceSession, Tensor } from 'onnxruntime-common';
import { float32, scalar } from '../engine/run/runtime.ts';
import { studentFeeds } from '../student/feeds.ts';
import { evenLabels } from '../student/labels.ts';
import { drawn } from './draws.ts';
import { readFile, readJson } from './files.ts';
import type { Engine } from './runtime.ts';
import type { TrainingManifest, TrainingProgram, TrainingRun } from './training-manifest.ts';

export interface Training {
  /** Steps of the whole run, and those that are made. */
  readonly steps: number;
  made(): number;
  /** Makes a step. @returns the terms of every program that ran, as `phase/term` */
  step(): Promise<Readonly<Record<string, number>>>;
  /** Samples of the student as it is, [n, …sample], from the same noise every time. */
  preview(n: number): Promise<Float32Array>;
}

type States = Map<string, Tensor>;

/** Loads programs and first state. @param name of the manifest in the site */
export async function openTraining(engine: Engine, name: string, site: URL): Promise<Training> {
  const base = new URL(name, site);
  const manifest = await readJson<TrainingManifest>(name, site);
  const states = await firstStates(engine, manifest, base);
  const sessions = new Map<string, InferenceSession>();
  for (const [key, { file, writes }] of Object.entries(manifest.programs))
    sessions.set(key, await engine.session(await readFile(file, base), writes.map(nextOf)));
  const preview = await engine.session(await readFile(manifest.preview.file, base));
  let made = 0;
  return {
    steps: manifest.steps.length,
    made: () => made,
    async step() {
      const terms: Record<string, number> = {};
      const waiting: States[] = [];
      for (const run of manifest.steps[made]!) {
        const program = manifest.programs[run.program]!;
        const given = feeds(engine, manifest, program, run, made, states);
        const result = await sessions.get(run.program)!.run(given);
        for (const term of program.terms) if (term !== 'commit') terms[`${run.program}/${term}`] = Number(result[`value/${term}`]!.data[0]);
        // A step that is not finite leaves the state as it was.
        const kept = !program.terms.includes('commit') || Number(result['value/commit']!.data[0]) !== 0;
        const next: States = new Map(program.writes.map((label) => [label, result[nextOf(label)]!]));
        if (!kept) for (const tensor of next.values()) tensor.dispose();
        else if (manifest.simultaneous) waiting.push(next);
        else replace(states, next);
      }
      for (const next of waiting) replace(states, next);
      made += 1;
      return terms;
    },
    async preview(n) {
      const { state, classes } = manifest.preview;
      const made = studentFeeds(manifest.preview, { seed: manifest.seed, first: 0, count: n, labels: evenLabels(n, classes) });
      const given = Object.fromEntries(Object.entries(made).map(([key, value]) => [key, engine.tensor(value)]));
      const { image } = await preview.run({ ...given, [state]: states.get(state)! });
      return image!.data as Float32Array;
    },
  };
}

const nextOf = (label: string): string => `next/${label}`;

function replace(states: States, next: States): void {
  for (const [label, tensor] of next) {
    states.get(label)?.dispose();
    states.set(label, tensor);
  }
}

async function firstStates(engine: Engine, { state, values }: TrainingManifest, base: URL): Promise<States> {
  const bytes = await readFile(values, base);
  const all = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / Float32Array.BYTES_PER_ELEMENT);
  const first = ({ size, offset }: TrainingManifest['state'][string]): Float32Array =>
    offset === null ? new Float32Array(size) : all.slice(offset, offset + size);
  return new Map(Object.entries(state).map(([label, place]) => [label, engine.tensor(float32(first(place), [place.size]))]));
}

function feeds(
  engine: Engine,
  { seed }: TrainingManifest,
  { draws, reads, scalars }: TrainingProgram,
  run: TrainingRun,
  step: number,
  states: States,
): Record<string, Tensor> {
  const given: Record<string, Tensor> = {};
  for (const spec of draws) given[`draw/${spec.name}`] = engine.tensor(drawn(spec, seed, step));
  scalars.forEach((name, i) => {
    given[name] = engine.tensor(scalar(run.scalars[i]!));
  });
  for (const label of reads) given[label] = states.get(label)!;
  return given;
}
