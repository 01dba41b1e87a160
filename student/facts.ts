/** @file What an ONNX file of a student says of itself. */
import { fromBinary } from '@bufbuild/protobuf';
import { type ModelProto, ModelProtoSchema, type ValueInfoProto } from 'onnx-buf';
import { InputError } from '../engine/io/errors.ts';
import { noiseName, type StudentInputs } from './feeds.ts';

export interface StudentFacts extends StudentInputs {
  /** Noise levels at which the network is called; empty where the file does not say. */
  readonly levels: readonly number[];
  /** Names and values that the exporter wrote into the file. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Features of texts that it takes, and their shapes for one sample. */
  readonly conditions: Readonly<Record<string, readonly number[]>>;
  /** Whether it gives an image, or the latent of one that a decoder is needed for. */
  readonly gives: 'image' | 'latent';
}

/** Reads the facts. @param where the file, for messages @throws InputError where it is no ONNX file or no student */
export function studentFacts(where: string, bytes: Uint8Array): StudentFacts {
  const { graph, metadataProps } = parse(where, bytes);
  const inputs = new Map((graph?.input ?? []).map((value) => [value.name ?? '', dimensions(value)]));
  const metadata = Object.fromEntries(metadataProps.map(({ key, value }) => [key ?? '', value ?? '']));
  const ofTexts = (name: string): boolean => 'text' in metadata && !/^noise\d*$/.test(name);
  const others = [...inputs].filter(([name]) => name !== 'label');
  const noises = others.flatMap(([name]) => (ofTexts(name) ? [] : [name]));
  const noise = inputs.get('noise')?.slice(1) ?? [];
  const image = (metadata['image'] ?? '').split(' ').filter(Boolean).map(Number);
  const shape = image.length > 0 ? image : noise;
  const gives = (['image', 'latent'] as const).find((wanted) => (graph?.output ?? []).some(({ name }) => name === wanted));
  const classes = inputs.has('label') ? Number(metadata['classes']) : 0;
  const isStudent =
    shape.length > 0 &&
    [...shape, ...noise].every((d) => d > 0) &&
    noise.length > 0 &&
    noises.every((_, k) => inputs.has(noiseName(k))) &&
    Number.isSafeInteger(classes) &&
    classes >= 0 &&
    gives !== undefined;
  if (!isStudent || gives === undefined)
    throw new InputError(
      `${where}: is no student: it takes ${[...inputs.keys()].join(', ')}; give a file that onestep export wrote, with noise and label in and image out`,
    );
  const levels = (metadata['levels'] ?? '').split(' ').filter(Boolean).map(Number);
  const conditions = Object.fromEntries(others.filter(([name]) => ofTexts(name)).map(([name, own]) => [name, own.slice(1)]));
  return { shape, ...(image.length > 0 ? { latent: noise } : {}), classes, metadata, levels, noises: noises.length, conditions, gives };
}

function parse(where: string, bytes: Uint8Array): ModelProto {
  try {
    const model = fromBinary(ModelProtoSchema, bytes);
    if ((model.graph?.node.length ?? 0) > 0) return model;
  } catch {
    // told below
  }
  throw new InputError(`${where}: is no complete ONNX file; give one that onestep export wrote`);
}

const dimensions = (value: ValueInfoProto): readonly number[] => {
  const type = value.type?.value;
  const shape = type?.case === 'tensorType' ? type.value.shape?.dim : undefined;
  return (shape ?? []).map((d) => (d.value.case === 'dimValue' ? Number(d.value.value) : 0));
};
