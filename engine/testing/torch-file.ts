/** @file Writes state_dicts as `torch.save` did before version 1.6, for tests of large checkpoints that are not stored. */
import { writeFileSync } from 'node:fs';

/** A tensor of float32 or int64. */
export interface SavedTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array | BigInt64Array;
}
const MAGIC = '\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.';
const PROTOCOL = '\x80\x02M\xe9\x03.';
const SYSTEM = '\x80\x02}U\rlittle_endian\x88s.';

const u32 = (value: number): string => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes.toString('latin1');
};
const text = (value: string): string => `X${u32(Buffer.byteLength(value))}${Buffer.from(value).toString('latin1')}`;
const whole = (value: number): string => `J${u32(value)}`;
const list = (values: readonly number[]): string => `(${values.map(whole).join('')}t`;

function rebuilt({ shape, data }: SavedTensor, key: string): string {
  const strides = shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));
  const type = data instanceof Float32Array ? 'FloatStorage' : 'LongStorage';
  const storage = `(${text('storage')}ctorch\n${type}\n${text(key)}${text('cuda:0')}${whole(data.length)}NtQ`;
  return `ctorch._utils\n_rebuild_tensor_v2\n(${storage}${whole(0)}${list(shape)}${list(strides)}\x89}tR`;
}

export function writeTorchFile(path: string, tensors: ReadonlyMap<string, SavedTensor>): void {
  const names = [...tensors.keys()];
  const items = names.map((name, i) => `${text(name)}${rebuilt(tensors.get(name)!, String(i))}`);
  const value = `\x80\x02ccollections\nOrderedDict\n)R(${items.join('')}u.`;
  const keys = `\x80\x02(${names.map((_, i) => text(String(i))).join('')}l.`;
  const storages = [...tensors.values()].flatMap(({ data }) => {
    const count = Buffer.alloc(8);
    count.writeBigUInt64LE(BigInt(data.length));
    return [count, Buffer.from(data.buffer, data.byteOffset, data.byteLength)];
  });
  writeFileSync(path, Buffer.concat([Buffer.from([MAGIC, PROTOCOL, SYSTEM, value, keys].join(''), 'latin1'), ...storages]));
}
