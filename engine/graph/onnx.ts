/** @file Writes a graph as an ONNX model. The only file that knows the ONNX schema. */
import { create, toBinary } from '@bufbuild/protobuf';
import {
  type AttributeProto,
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  ModelProtoSchema,
  type TensorProto,
  TensorProto_DataLocation,
  TensorProtoSchema,
} from 'onnx-buf';
import { type BlockWriter, type ByteEmitter, blockWriter } from './onnx-blocks.ts';
import { ELEMENT_TYPE } from './ops/elementwise.ts';
import { type LeafAttrs, type LeafData, leafOf } from './ops/leaf.ts';
import { toHalf } from './ops/special.ts';
import { frugalOrder } from './order.ts';
import { type Attributes, type DType, isSymbolic, type Shape, sizeOf, type Target, type Tensor } from './tensor.ts';

/** Opset 18 is the first with the forms of Split, Pad and the reductions used here; every ONNX Runtime since 1.14 reads it. */
const OPSET = 18;
const IR_VERSION = 8n;
const UINT8 = 2;

export interface ExportOptions {
  readonly target?: Target;
  /** See Emitter; only for a model that runs on this machine. */
  readonly block?: number;
  /**
   * Weights of at least 1,024 values are stored in fewer bits and widened when the model is loaded: all of them as float16; as int8 and int4 those that
   * were rounded to blocks (blocks.ts), of which matrices stay packed.
   */
  readonly storage?: Storage;
  /** Large weights go into a file of this name beside the model. */
  readonly external?: string;
  /** Key-value pairs for the model's metadata. */
  readonly metadata?: Readonly<Record<string, string>>;
}

export type Storage = 'float32' | 'float16' | 'int8' | 'int4';
const BITS = { float32: null, float16: null, int8: 8, int4: 4 } as const;

export interface ModelFiles {
  readonly model: Uint8Array<ArrayBuffer>;
  /** The pieces of the file beside it, one after the other; none where nothing is external. */
  readonly external: readonly Uint8Array[];
}
/** Where weights in the file beside the model begin: pages, so that they can be mapped into memory. */
const PAGE = 4096;

interface Draft {
  readonly opType: string;
  readonly domain: string;
  readonly input: string[];
  readonly output: string[];
  readonly attribute: AttributeProto[];
}

/** Inputs and states keep their labels; outputs take the keys given. Errors: two different leaves with one label. */
export const toOnnx = (outputs: Readonly<Record<string, Tensor>>, options: Omit<ExportOptions, 'external'> = {}): Uint8Array<ArrayBuffer> =>
  toOnnxFiles(outputs, options).model;

/** The same with large weights in a file of their own, which models of more than 2 GB need. Errors: as `toOnnx`. */
export function toOnnxFiles(outputs: Readonly<Record<string, Tensor>>, options: ExportOptions = {}): ModelFiles {
  const writer = new Writer(options);
  for (const node of frugalOrder(Object.values(outputs))) {
    const leaf = leafOf(node.outputs[0]!);
    // Constants of few bits are written where they are used: a matrix that stays packed is written in no other way.
    if (leaf?.kind === 'constant' && writer.blocks) continue;
    const product = leaf ? undefined : writer.blocks?.product(node, writer.nameOf);
    const names = leaf ? [writer.leaf(leaf)] : product ? [product] : node.op.onnx(node, node.inputs.map(writer.nameOf), writer);
    node.outputs.forEach((t, i) => {
      writer.names.set(t, names[i]!);
    });
  }
  return { model: writer.finish(outputs), external: writer.external };
}

class Writer implements ByteEmitter {
  readonly names = new Map<Tensor, string>();
  readonly target: Target;
  readonly block: number;
  readonly blocks: BlockWriter | null;
  readonly external: Uint8Array[] = [];
  private externalBytes = 0;
  private readonly nodesMade: Draft[] = [];
  private readonly initializers: TensorProto[] = [];
  private readonly inputs = new Map<string, LeafAttrs>();
  private readonly shared = new Map<string, string>();
  private readonly known = new Map<string, string[]>();
  private readonly options: ExportOptions;
  private count = 0;

  constructor(options: ExportOptions) {
    this.options = options;
    this.target = options.target ?? 'any';
    this.block = options.block ?? 0;
    const bits = BITS[options.storage ?? 'float32'];
    this.blocks = bits ? blockWriter(this, bits) : null;
  }

  readonly nameOf = (t: Tensor): string => {
    const name = this.names.get(t) ?? this.leaf(leafOf(t)!);
    this.names.set(t, name);
    return name;
  };

  node(type: string, inputs: readonly string[], attrs: Attributes = {}, domain = ''): string {
    return this.nodes(type, inputs, 1, attrs, domain)[0]!;
  }

  nodes(type: string, inputs: readonly string[], outputs: number, attrs: Attributes = {}, domain = ''): string[] {
    // Every operator used here is a pure function: the same node need not be written twice.
    const key = `${domain} ${type} ${outputs} ${inputs.join()} ${JSON.stringify(attrs)}`;
    const before = this.known.get(key);
    if (before) return before;
    const output = Array.from({ length: outputs }, () => this.fresh(type));
    this.nodesMade.push({ opType: type, domain, input: [...inputs], output, attribute: Object.entries(attrs).map(attribute) });
    this.known.set(key, output);
    return output;
  }

  ints(values: readonly number[]): string {
    return this.once(`ints ${values.join()}`, () => this.initializer(BigInt64Array.from(values, BigInt), [values.length], 'int64'));
  }

  scalar(value: number, dtype: DType = 'float32'): string {
    const data = dtype === 'int64' ? BigInt64Array.of(BigInt(value)) : dtype === 'bool' ? Uint8Array.of(value) : Float32Array.of(value);
    return this.once(`scalar ${dtype} ${value}`, () => this.initializer(data, [], dtype));
  }

  floats(values: Float32Array, shape: readonly number[]): string {
    const uniform = values.every((v) => v === values[0]);
    const make = (): string => this.initializer(values, shape, 'float32');
    return uniform ? this.once(`fill ${values[0]} ${shape.join()}`, make) : make();
  }

  leaf(leaf: LeafAttrs): string {
    if (leaf.kind === 'constant') return this.weights(leaf);
    const before = this.inputs.get(leaf.label);
    if (before && (before.shape.join() !== leaf.shape.join() || before.dtype !== leaf.dtype)) {
      throw new TypeError(`export: ${leaf.label} is both ${before.dtype}[${before.shape.join()}] and ${leaf.dtype}[${leaf.shape.join()}]`);
    }
    this.inputs.set(leaf.label, leaf);
    return leaf.label;
  }

  finish(outputs: Readonly<Record<string, Tensor>>): Uint8Array<ArrayBuffer> {
    // An output is the value itself under its key; only what no node makes, or a second key for one value, needs a copy.
    const made = new Set(this.nodesMade.flatMap((n) => n.output));
    const renamed = new Map<string, string>();
    for (const [key, t] of Object.entries(outputs)) {
      if (this.inputs.has(key)) throw new TypeError(`export: ${key} names both an input and an output; give the output another key`);
      const name = this.nameOf(t);
      if (made.has(name) && !renamed.has(name)) renamed.set(name, key);
      else this.nodesMade.push({ opType: 'Identity', domain: '', input: [name], output: [key], attribute: [] });
    }
    const as = (name: string): string => renamed.get(name) ?? name;
    const node = this.nodesMade.map((n) => ({ ...n, input: n.input.map(as), output: n.output.map(as) }));
    const domains = [...new Set(this.nodesMade.map((n) => n.domain))];
    const model = create(ModelProtoSchema, {
      irVersion: IR_VERSION,
      producerName: 'onestep',
      opsetImport: ['', ...domains.filter((d) => d !== '')].map((domain) => ({ domain, version: BigInt(domain === '' ? OPSET : 1) })),
      graph: {
        name: 'onestep',
        node,
        initializer: this.initializers,
        input: [...this.inputs].map(([name, t]) => valueInfo(name, t)),
        output: Object.entries(outputs).map(([name, t]) => valueInfo(name, t)),
      },
      metadataProps: Object.entries(this.options.metadata ?? {}).map(([key, value]) => ({ key, value })),
    });
    return toBinary(ModelProtoSchema, model);
  }

  bytes(values: Uint8Array, shape: readonly number[]): string {
    return this.store(values, shape, UINT8);
  }

  private weights(leaf: LeafAttrs): string {
    const { data, shape, dtype } = leaf;
    const widened = this.blocks?.constant(leaf);
    if (widened) return widened;
    if (this.options.storage !== 'float16' || dtype !== 'float32' || sizeOf(shape) < 1024) return this.initializer(data!, shape, dtype);
    return this.node('Cast', [this.initializer(data!, shape, 'float16')], { to: ELEMENT_TYPE.float32 });
  }

  private initializer(data: LeafData, shape: Shape, dtype: DType): string {
    const rounded = data instanceof Float64Array ? Float32Array.from(data) : data;
    const stored = dtype === 'float16' ? toHalf(rounded as Float32Array) : rounded;
    return this.store(new Uint8Array(stored.buffer as ArrayBuffer, stored.byteOffset, stored.byteLength), shape, ELEMENT_TYPE[dtype]);
  }

  private store(rawData: Uint8Array, shape: Shape, dataType: number): string {
    const name = this.fresh('constant');
    const outside = this.options.external !== undefined && rawData.length >= PAGE;
    const value = outside
      ? { dataLocation: TensorProto_DataLocation.EXTERNAL, externalData: this.placed(rawData) }
      : { rawData: rawData as Uint8Array<ArrayBuffer> };
    this.initializers.push(create(TensorProtoSchema, { name, dims: shape.map((d) => BigInt(d)), dataType, ...value }));
    return name;
  }

  private placed(data: Uint8Array) {
    const offset = Math.ceil(this.externalBytes / PAGE) * PAGE;
    if (offset > this.externalBytes) this.external.push(new Uint8Array(offset - this.externalBytes));
    this.external.push(data);
    this.externalBytes = offset + data.length;
    const entries = { location: this.options.external!, offset: String(offset), length: String(data.length) };
    return Object.entries(entries).map(([key, value]) => ({ key, value }));
  }

  private once(key: string, make: () => string): string {
    const name = this.shared.get(key) ?? make();
    this.shared.set(key, name);
    return name;
  }

  private fresh(stem: string): string {
    return `${stem}_${this.count++}`;
  }
}

function attribute([name, value]: [string, Attributes[string]]): AttributeProto {
  if (typeof value === 'number') return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.INT, i: BigInt(value) });
  if (typeof value === 'string')
    return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.STRING, s: new TextEncoder().encode(value) });
  if (Array.isArray(value)) return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.INTS, ints: value.map(BigInt) });
  return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.FLOAT, f: (value as { float: number }).float });
}

function valueInfo(name: string, { shape, dtype }: { readonly shape: Shape; readonly dtype: DType }) {
  const dim = shape.map((d) =>
    isSymbolic(d) ? { value: { case: 'dimParam' as const, value: d } } : { value: { case: 'dimValue' as const, value: BigInt(d) } },
  );
  return { name, type: { value: { case: 'tensorType' as const, value: { elemType: ELEMENT_TYPE[dtype], shape: { dim } } } } };
}
