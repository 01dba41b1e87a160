/** @file Several steps in one run of ONNX Runtime, by a Loop that carries the state: for providers that copy every output to main memory, as CUDA's does in Node. */
import * as ort from 'onnxruntime-node';
import { loopNames, loopOnnx } from '../graph/onnx-loop.ts';
import { type DType, sizeOf } from '../graph/tensor.ts';
import type { OrtState, ProgramFile } from './ort.ts';
import { sessionOptions } from './ort-options.ts';
import type { Feeds, HostTensor, Outputs, RuntimeOptions, Steps, Turn } from './runtime.ts';

const COMMIT = 'value/commit';

/** Sessions are made when steps first run in one go. The order of `files` is that of the programs in every turn. */
export function loopSteps(files: Readonly<Record<string, ProgramFile>>, state: OrtState, options: RuntimeOptions): Steps {
  const sessions = new Map<boolean, Promise<ort.InferenceSession>>();
  const labels = new Set(state.names());
  const session = (hold: boolean): Promise<ort.InferenceSession> => {
    const made = sessions.get(hold) ?? ort.InferenceSession.create(loopOnnx(files, labels, COMMIT, hold), sessionOptions(options));
    sessions.set(hold, made);
    return made;
  };
  const updated = [...new Set(Object.values(files).flatMap(({ updates }) => updates))];
  return {
    async run(turns) {
      if (turns.length === 0) return [];
      const { hold } = turns[0]!;
      const loop = await session(hold);
      const { feeds, rows } = stack(Object.keys(files), turns);
      const given: Record<string, ort.Tensor> = {};
      for (const name of loop.inputNames) given[name] = labels.has(name) ? state.current(name) : (feeds.get(name) ?? noRows(loop, name));
      const fetches: Record<string, ort.Tensor | null> = {};
      for (const label of updated) fetches[loopNames.next(label)] = state.target(label);
      for (const [name, { values }] of Object.entries(files)) for (const value of values) fetches[loopNames.value(name, value)] = null;
      const result = await loop.run(given, fetches);
      for (const label of updated) state.swap(label);
      return outputsOf(files, turns, rows, result);
    },
    async close() {
      for (const made of sessions.values()) await (await made).release();
    },
  };
}

/** What a program is fed that runs in none of the turns. */
function noRows({ inputMetadata }: ort.InferenceSession, name: string): ort.Tensor {
  const found = inputMetadata.find((each) => each.name === name)!;
  if (!found.isTensor) throw new TypeError(`internal: ${name} is no tensor`);
  const [, ...shape] = found.shape as number[];
  const data = found.type === 'int64' ? new BigInt64Array(0) : found.type === 'float32' ? new Float32Array(0) : new Uint8Array(0);
  return new ort.Tensor(found.type as 'float32', data as Float32Array, [0, ...shape]);
}

/** Rows of each program in each turn, and everything that is fed, one row after the other. */
function stack(programs: readonly string[], turns: readonly Turn[]) {
  const feeds = new Map<string, ort.Tensor>([[loopNames.turns, new ort.Tensor('int64', BigInt64Array.of(BigInt(turns.length)), [])]]);
  const rows: Record<string, readonly number[]> = {};
  for (const program of programs) {
    const own: Feeds[] = [];
    rows[program] = turns.map(({ runs }) => {
      const found = runs.find((each) => each.program === program);
      return found ? own.push(found.feeds) - 1 : -1;
    });
    feeds.set(loopNames.row(program), new ort.Tensor('int64', BigInt64Array.from(rows[program]!, BigInt), [turns.length]));
    for (const [name, value] of Object.entries(own[0] ?? {}))
      feeds.set(
        loopNames.input(program, name),
        stacked(
          own.map((each) => each[name]!),
          value,
        ),
      );
  }
  return { feeds, rows };
}

function stacked(values: readonly HostTensor[], { dtype, shape }: HostTensor): ort.Tensor {
  const size = sizeOf(shape);
  const Kind = values[0]!.data.constructor as Float32ArrayConstructor;
  const data = new Kind(values.length * size);
  values.forEach((value, i) => {
    data.set(value.data as Float32Array, i * size);
  });
  return new ort.Tensor(dtype as 'float32', data, [values.length, ...shape]);
}

/** What the programs of the turns that went well gave; of the one that did not, nothing is told. */
function outputsOf(
  files: Readonly<Record<string, ProgramFile>>,
  turns: readonly Turn[],
  rows: Readonly<Record<string, readonly number[]>>,
  result: ort.InferenceSession.OnnxValueMapType,
): Outputs[][] {
  const at = (program: string, value: string, turn: number): HostTensor => {
    const { type, dims, data } = result[loopNames.value(program, value)]!;
    const size = sizeOf(dims.slice(1));
    return { dtype: type as DType, shape: dims.slice(1), data: (data as Float32Array).slice(turn * size, (turn + 1) * size) };
  };
  const [name, { values }] = Object.entries(files).find(([, file]) => file.values.length > 0)!;
  const done = result[loopNames.value(name, values[0]!)]!.dims[0]!;
  const bad = (turn: number): boolean =>
    Object.entries(files).some(([program, file]) => file.values.includes(COMMIT) && Number(at(program, COMMIT, turn).data[0]) === 0);
  const good = done > 0 && bad(done - 1) ? done - 1 : done;
  return turns.slice(0, good).map(({ runs }, turn) =>
    runs.map(({ program }) => {
      if (rows[program]![turn]! < 0) throw new TypeError(`internal: ${program} did not run`);
      return Object.fromEntries(files[program]!.values.map((value) => [value.slice('value/'.length), at(program, value, turn)]));
    }),
  );
}
