/** @file The functions of Python, NumPy and PyTorch that pickles of tensors call. What is not here is refused. */
import { InputError } from './errors.ts';
import { findNumpy } from './numpy-values.ts';
import { known, named, objectOf, type PickleThing, type PickleValue, text } from './pickle-values.ts';
import { findTorch } from './torch-values.ts';

function dictionary([items]: readonly PickleValue[]): PickleValue {
  if (items instanceof Map) return new Map(items);
  const made = new Map<PickleValue, PickleValue>();
  for (const pair of Array.isArray(items) ? items : []) if (Array.isArray(pair) && pair.length === 2) made.set(pair[0]!, pair[1]!);
  return made;
}
/** Bytes in pickles of protocol 2: `_codecs.encode(text, 'latin1')`. */
function encode([value, encoding]: readonly PickleValue[]): PickleValue {
  if (encoding !== 'latin1') throw new InputError('_codecs.encode with another encoding than latin1');
  return Uint8Array.from(Buffer.from(text('_codecs.encode', value), 'latin1'));
}
function byteArray([value]: readonly PickleValue[]): PickleValue {
  if (value === undefined) return new Uint8Array(0);
  if (value instanceof Uint8Array) return value;
  if (!Array.isArray(value)) throw new InputError('bytes of neither bytes nor a list');
  return Uint8Array.from(value, Number);
}

/**
 * NVlabs' classes keep their source text beside their attributes (`torch_utils.persistence`). The text is not looked at; the attributes are kept
 * under the name of the class.
 */
function persistentObject([meta]: readonly PickleValue[]): PickleValue {
  if (!(meta instanceof Map) || meta.get('type') !== 'class')
    throw new InputError('a persistent object is of no class; the file is damaged');
  const object = objectOf(text('the class of a persistent object', meta.get('class_name')));
  object.state = meta.get('state') ?? null;
  return object;
}

const functions: ReadonlyMap<string, PickleThing> = new Map<string, PickleThing>([
  ['collections.OrderedDict', known(dictionary)],
  ['collections.defaultdict', known(() => new Map())],
  ['dnnlib.util.EasyDict', known(dictionary)],
  ['_codecs.encode', known(encode)],
  ['torch_utils.persistence._reconstruct_persistent_obj', known(persistentObject)],
  ...['builtins', '__builtin__'].flatMap((module): [string, PickleThing][] => [
    [`${module}.set`, known(([items]) => new Set(Array.isArray(items) ? items : []))],
    [`${module}.frozenset`, known(([items]) => new Set(Array.isArray(items) ? items : []))],
    [`${module}.bytes`, known(byteArray)],
    [`${module}.bytearray`, known(byteArray)],
    ...['list', 'dict', 'int', 'float', 'str', 'bool'].map((name): [string, PickleThing] => [`${module}.${name}`, named(`class ${name}`)]),
  ]),
]);

/** The finder of all that is known, with further functions by full name. */
export const findKnown =
  (more: Readonly<Record<string, PickleThing>> = {}) =>
  (module: string, name: string): PickleThing | undefined => {
    const full = `${module}.${name}`;
    return functions.get(full) ?? findNumpy(full) ?? findTorch(full) ?? (Object.hasOwn(more, full) ? more[full] : undefined);
  };
