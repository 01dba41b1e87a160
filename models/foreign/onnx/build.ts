/** @file Runs through the nodes of a graph: each operator adds its part to our graph, and what depends on constants alone is computed at once. */
import type { AttributeProto, GraphProto, NodeProto } from 'onnx-buf';
import { constant, leafOf } from '../../../engine/graph/ops/leaf.ts';
import { elements, type Tensor } from '../../../engine/graph/tensor.ts';
import { InputError } from '../../../engine/io/errors.ts';
import { attributesOf, handedOn } from './attributes.ts';
import { computed } from './fold.ts';
import { functionKey, type OnnxModel, OPSETS } from './model.ts';
import { isConstant, nodeView, type Operator, type Session } from './node.ts';
import { operators } from './operators/index.ts';
import { follow, pickedByRows, requireNoRows } from './rows.ts';
import { hangsOnBatch } from './sizes.ts';
import { readTensor } from './tensors.ts';

/** Values by name; what is not found is looked up in the graph around. */
interface Names {
  readonly own: ReadonlyMap<string, Tensor>;
  get(name: string): Tensor | undefined;
  set(name: string, value: Tensor): void;
}
function names(outer?: Names): Names {
  const own = new Map<string, Tensor>();
  return { own, get: (name) => own.get(name) ?? outer?.get(name), set: (name, value) => own.set(name, value) };
}
interface Scene {
  readonly model: OnnxModel;
  readonly session: Session;
  readonly opset: number;
  /** Attributes of the function call around, if there is one. */
  readonly outer: ReadonlyMap<string, AttributeProto>;
  readonly initializer: (name: string) => Tensor | undefined;
  readonly depth: number;
}
const MAX_DEPTH = 32;
const plain = (name: string): string => (name.length > 80 ? `${name.slice(0, 80)}…` : name).replace(/[^ -~]/g, '?');
const shown = (name: string): string => JSON.stringify(plain(name));
const LONGEST_MESSAGE = 400;

/** The node in messages: its name, operator and opset. */
const titleOf = ({ name, opType, domain, output }: NodeProto, opset: number): string =>
  `node ${shown(name || (output[0] ?? ''))} (${domain && domain !== 'ai.onnx' ? `${plain(domain)}.` : ''}${plain(opType) || 'no operator'}, opset ${opset})`;

/** What a file's graph computes. */
export interface Trace {
  readonly outputs: Readonly<Record<string, Tensor>>;
  /** Every value by its name in the file, in the order in which they are computed. */
  readonly values: ReadonlyMap<string, Tensor>;
}
/** @throws InputError naming the node that cannot be imported */
export function buildGraph(
  model: OnnxModel,
  session: Session,
  inputs: ReadonlyMap<string, Tensor>,
  initializer: (name: string) => Tensor | undefined,
): Trace {
  const scope = names();
  for (const [name, t] of inputs) scope.set(name, t);
  const scene = { model, session, opset: model.opset, outer: new Map(), initializer, depth: 0 };
  runNodes(scene, model.graph.node, scope);
  const outputs = Object.fromEntries(model.graph.output.map(({ name }) => [name, found(scene, scope, name, `output ${shown(name)}`)]));
  requireNoRows(Object.values(outputs), (message) => {
    throw new InputError(`${session.where}: ${message}`);
  });
  return { outputs, values: scope.own };
}

function found(scene: Scene, scope: Names, name: string, user: string): Tensor {
  const value = scope.get(name) ?? scene.initializer(name);
  if (!value)
    throw new InputError(`${scene.session.where}: ${user} needs ${shown(name)}, which nothing before it gives, or which is not supported`);
  return value;
}

function runNodes(scene: Scene, nodes: readonly NodeProto[], scope: Names): void {
  for (const node of nodes) {
    const title = titleOf(node, scene.opset);
    const given = node.input.map((name) => (name === '' ? undefined : found(scene, scope, name, title)));
    const made = located(scene.session.where, title, () => runNode(scene, node, given, scope));
    made.forEach((t, i) => {
      if (node.output[i]) scope.set(node.output[i], t);
    });
  }
}

/** Whatever goes wrong in a node is told with the node. */
function located<T>(where: string, title: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    const { message } = error as Error;
    if (error instanceof InputError && message.startsWith(`${where}: `)) throw error;
    // What trips over a size that is not there was given inputs that no version of the operator takes.
    const said =
      error instanceof TypeError ? 'its inputs are not what the operator takes' : message.replace(/\s+/g, ' ').slice(0, LONGEST_MESSAGE);
    throw new InputError(`${where}: ${title}: ${said}`, { cause: error });
  }
}

const REFUSED: readonly (readonly [RegExp, string])[] = [
  [
    /^(Loop|Scan|Sequence\w*|SplitToSequence|ConcatFromSequence|Optional\w*)$/,
    'control flow and sequences are not supported; unroll it when exporting',
  ],
  [/Quantize|Integer$|^QLinear|NBits$/, 'quantised operators are not supported; export the model in float32 or float16'],
];
function refuse({ opType, domain }: NodeProto, fail: (message: string) => never): never {
  if (domain !== '' && domain !== 'ai.onnx' && domain !== 'com.microsoft')
    return fail(`operators of the domain ${shown(domain)} are not supported`);
  const reason = REFUSED.find(([pattern]) => pattern.test(opType))?.[1];
  return fail(reason ?? `this operator is not supported at opset ${OPSETS.first} to ${OPSETS.last}; docs/onnx.md lists those that are`);
}

function runNode(scene: Scene, node: NodeProto, given: readonly (Tensor | undefined)[], scope: Names): readonly Tensor[] {
  const fail = (message: string): never => {
    throw new InputError(message);
  };
  const standard = node.domain === '' || node.domain === 'ai.onnx';
  const f = scene.model.functions.get(functionKey({ domain: node.domain, name: node.opType }));
  if (f) return callFunction(scene, f, node, given, fail);
  const key = standard ? node.opType : `${node.domain}.${node.opType}`;
  const operator: Operator = Object.hasOwn(operators, key) ? operators[key]! : refuse(node, fail);
  const view = nodeView(scene.session, operator, {
    opset: scene.opset,
    attr: attributesOf(node, scene.outer, fail),
    given,
    outputs: node.output.length,
    subgraph: (graph) => runSubgraph(scene, graph, scope, fail),
    fail,
  });
  const made = pickedByRows(scene.session, node.opType, view, given) ?? operator.build(view);
  const outputs = Array.isArray(made) ? (made as readonly Tensor[]) : [made as Tensor];
  if (!given.every((t) => !t || isConstant(t))) {
    if (outputs[0]) follow(scene.session, node.opType, view, given, outputs[0]);
    return outputs;
  }
  const batchSized = given.some((t) => t && scene.session.batchSized.has(t));
  return outputs.map((t) => folded(t, given, scene.session, batchSized));
}

function runSubgraph(scene: Scene, graph: GraphProto, scope: Names, fail: (message: string) => never): readonly Tensor[] {
  if (scene.depth >= MAX_DEPTH) fail(`graphs are nested more than ${MAX_DEPTH} deep`);
  const inner = { ...scene, depth: scene.depth + 1 };
  const own = names(scope);
  for (const tensor of graph.initializer) {
    const { data, shape, dtype } = readTensor(`tensor ${shown(tensor.name)} of a subgraph`, tensor);
    own.set(tensor.name, constant(data, shape, dtype));
  }
  runNodes(inner, graph.node, own);
  return graph.output.map(({ name }) => found(inner, own, name, `the output ${shown(name)} of a subgraph`));
}

function callFunction(
  scene: Scene,
  f: {
    readonly input: readonly string[];
    readonly output: readonly string[];
    readonly node: readonly NodeProto[];
    readonly attributeProto: readonly AttributeProto[];
  },
  node: NodeProto,
  given: readonly (Tensor | undefined)[],
  fail: (message: string) => never,
): readonly Tensor[] {
  if (scene.depth >= MAX_DEPTH) fail(`functions call each other more than ${MAX_DEPTH} deep`);
  const own = names();
  f.input.forEach((name, i) => {
    if (given[i]) own.set(name, given[i]);
  });
  const defaults = f.attributeProto.map((a) => [a.name, a] as const);
  const inner: Scene = {
    ...scene,
    outer: new Map([...defaults, ...handedOn(node, scene.outer)]),
    initializer: () => undefined,
    depth: scene.depth + 1,
  };
  // An input that a call leaves out is left out inside.
  const absent = new Set(f.input.filter((_, i) => !given[i]));
  const nodes = absent.size === 0 ? f.node : f.node.map((n) => ({ ...n, input: n.input.map((name) => (absent.has(name) ? '' : name)) }));
  runNodes(inner, nodes, own);
  return f.output.map((name) => found(inner, own, name, `the function ${shown(node.opType)}`));
}

/** As in simplify.ts. */
const SMALL = 64;
/** What is made of constants alone is computed at once, unless it is much larger than they are: whoever needs its numbers computes them then. */
function folded(t: Tensor, given: readonly (Tensor | undefined)[], session: Session, batchSized: boolean): Tensor {
  const sizeOf = (x: Tensor): number => Number(elements(x.shape));
  const small = sizeOf(t) <= SMALL || sizeOf(t) <= given.reduce((n, x) => n + (x ? sizeOf(x) : 0), 0);
  const known = isConstant(t) || !small ? t : computed(t);
  if (batchSized && isConstant(known) && hangsOnBatch(leafOf(known)!.data!)) session.batchSized.add(known);
  return known;
}
