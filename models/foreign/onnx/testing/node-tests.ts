/** @file The node tests of the ONNX project, as Debian's package libonnx-testdata installs them. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema, type TensorProto, TensorProtoSchema } from 'onnx-buf';

const FOLDER = '/usr/share/libonnx-testdata/data';

/** Whether the tests are there. Where they are not, tests skip with a line that says so, but fail in CI. */
export function hasNodeTests(): boolean {
  if (existsSync(FOLDER)) return true;
  if (process.env['CI']) throw new Error(`${FOLDER} is missing; install libonnx-testdata`);
  console.warn(`${FOLDER} is missing, its tests are skipped; install libonnx-testdata`);
  return false;
}

export interface NodeTest {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly opset: number;
  /** Operators of the graph. */
  readonly operators: readonly string[];
  readonly inputs: readonly TensorProto[];
  readonly outputs: readonly TensorProto[];
}

const tensor = (path: string): TensorProto => fromBinary(TensorProtoSchema, readFileSync(path));
const numbered = (folder: string, stem: string): TensorProto[] =>
  readdirSync(folder)
    .filter((file) => file.startsWith(`${stem}_`))
    .sort((a, b) => Number(a.match(/\d+/)![0]) - Number(b.match(/\d+/)![0]))
    .map((file) => tensor(join(folder, file)));

/** All tests of a group: node, pytorch-converted, pytorch-operator, simple. */
export function* nodeTests(group: string): Generator<NodeTest> {
  for (const name of readdirSync(join(FOLDER, group)).sort()) {
    const folder = join(FOLDER, group, name);
    const bytes = new Uint8Array(readFileSync(join(folder, 'model.onnx')));
    const model = fromBinary(ModelProtoSchema, bytes);
    const data = join(folder, 'test_data_set_0');
    try {
      yield {
        name,
        bytes,
        opset: Number(model.opsetImport.find((o) => o.domain === '')?.version ?? 0),
        operators: [...new Set(model.graph!.node.map((n) => n.opType))],
        inputs: numbered(data, 'input'),
        outputs: numbered(data, 'output'),
      };
    } catch {
      // Sequences and optional values are stored otherwise; no operator of them is read.
    }
  }
}
