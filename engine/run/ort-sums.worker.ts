/** @file A thread that computes gradients of one part of a batch at a time. */
import { parentPort, workerData } from 'node:worker_threads';
import * as ort from 'onnxruntime-node';
import type { ProgramFile } from './ort.ts';
import type { Feeds, HostTensor } from './runtime.ts';

/** Memory that all threads see. ONNX Runtime does not take it, so every thread copies. */
export interface SharedValue<Data extends HostTensor['data'] = HostTensor['data']> {
  readonly dtype: HostTensor['dtype'];
  readonly shape: readonly number[];
  readonly data: Data;
}
export interface PartSetup {
  readonly files: Readonly<Record<string, ProgramFile>>;
  /** States by name, as they are copied here before a job that needs them. */
  readonly read: Readonly<Record<string, SharedValue>>;
  /** Where this thread leaves the updates. */
  readonly own: Readonly<Record<string, SharedValue<Float32Array>>>;
  readonly options: ort.InferenceSession.SessionOptions;
}
export interface PartJob {
  readonly program: string;
  readonly feeds: Feeds;
  /** Changes so far of every state that is shared. */
  readonly versions: Readonly<Record<string, number>>;
}
export interface PartAnswer {
  readonly outputs: Readonly<Record<string, HostTensor>>;
}

const { files, read, own, options } = workerData as PartSetup;
const sessions: Record<string, ort.InferenceSession> = {};
for (const [name, { model }] of Object.entries(files)) sessions[name] = await ort.InferenceSession.create(model, options);
const names = Object.keys(read).filter((name) => Object.values(sessions).some(({ inputNames }) => inputNames.includes(name)));
const copies = new Map(names.map((name) => [name, { version: -1, tensor: tensorLike(read[name]!) }]));

function tensorLike({ dtype, data, shape }: SharedValue): ort.Tensor {
  const Kind = data.constructor as Float32ArrayConstructor;
  return new ort.Tensor(dtype as 'float32', new Kind(data.length), shape as number[]);
}

function refresh(versions: PartJob['versions']): void {
  for (const [name, copy] of copies) {
    if (copy.version === versions[name]) continue;
    (copy.tensor.data as Float32Array).set(read[name]!.data as Float32Array);
    copy.version = versions[name]!;
  }
}

async function run({ program, feeds, versions }: PartJob): Promise<PartAnswer> {
  refresh(versions);
  const session = sessions[program]!;
  const { values, updates } = files[program]!;
  const given = Object.fromEntries(
    session.inputNames.map((input) => {
      const { dtype, data, shape } = feeds[input] ?? {};
      return [input, copies.get(input)?.tensor ?? new ort.Tensor(dtype as 'float32', data as Float32Array, shape as number[])];
    }),
  );
  const result = await session.run(given);
  for (const label of updates) own[label]!.data.set(result[`next/${label}`]!.data as Float32Array);
  const outputs = values.map((key) => {
    const { type, dims, data } = result[key]!;
    return [key.slice('value/'.length), { dtype: type, shape: dims, data }];
  });
  return { outputs: Object.fromEntries(outputs) };
}

parentPort!.on('message', (job: PartJob) => {
  void run(job).then((answer) => parentPort!.postMessage(answer));
});
parentPort!.postMessage(names);
