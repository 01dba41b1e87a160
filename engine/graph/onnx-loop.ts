/**
 * @file Several runs of ONNX models as one Loop: states are carried from turn to turn inside it, so that a provider which copies every output to main
 * memory copies them once for many turns.
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  type AttributeProto,
  type GraphProto,
  GraphProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  TensorProtoSchema,
} from 'onnx-buf';
import { graphAttribute, info, int64, integer, node, ones, outputInfo, renamed, stacked } from './onnx-proto.ts';
import { ELEMENT_TYPE } from './ops/elementwise.ts';

/** A model that is run in turns. */
export interface Turned {
  readonly model: Uint8Array;
  /** Outputs that leave each turn. */
  readonly values: readonly string[];
  /** Inputs that are states, of which the output `next/…` is the new value. */
  readonly updates: readonly string[];
}

/** Names of the loop's inputs and outputs. */
export const loopNames = {
  /** int64 scalar: how many turns. */
  turns: 'turns',
  /** int64 [turns]: the row of a model's inputs in a turn, below 0 where it does not run. */
  row: (model: string): string => `row/${model}`,
  /** [rows, …]: an input of a model, row by row. */
  input: (model: string, input: string): string => `${model}/${input}`,
  /** [turns that ran, …] */
  value: (model: string, value: string): string => `${model}/${value}`,
  next: (state: string): string => `next/${state}`,
};

interface Part {
  readonly name: string;
  readonly graph: GraphProto;
  readonly values: readonly string[];
  readonly updates: readonly string[];
}

/**
 * One model that runs turns: in each of them the given models in their order, those whose row is not below 0. It ends after the first turn in which an output
 * named `commit` comes out as 0, and leaves the states as they were before that turn.
 * @param hold all models of a turn see the states from before it, and no two of them update the same one
 * @param states labels of all states
 */
export function loopOnnx(
  models: Readonly<Record<string, Turned>>,
  states: ReadonlySet<string>,
  commit: string,
  hold: boolean,
): Uint8Array<ArrayBuffer> {
  const parsed = Object.entries(models).map(([name, { model, values, updates }]) => {
    const { graph, opsetImport, irVersion } = fromBinary(ModelProtoSchema, model);
    return { part: { name, graph: graph!, values, updates }, opsetImport, irVersion };
  });
  const parts = parsed.map(({ part }) => part);
  const versions = new Map(parsed.flatMap(({ opsetImport }) => opsetImport.map(({ domain, version }) => [domain, version] as const)));
  const body = bodyOf(parts, states, commit, hold);
  const used = new Map(
    parts.flatMap(({ graph }) => graph.input.filter(({ name }) => states.has(name)).map((info) => [info.name, info] as const)),
  );
  const carried = carriedBy(parts);
  const scans = parts.flatMap((part) => part.values.map((value) => [part, value] as const));
  const loop = node(
    'Loop',
    [loopNames.turns, '', ...carried],
    [...carried.map(loopNames.next), ...scans.map(([{ name }, value]) => loopNames.value(name, value))],
    [graphAttribute('body', body)],
  );
  const graph = create(GraphProtoSchema, {
    name: 'turns',
    node: [loop],
    input: [
      info(loopNames.turns, ELEMENT_TYPE.int64, []),
      ...parts.map(({ name }) => info(loopNames.row(name), ELEMENT_TYPE.int64, ['turns'])),
      ...used.values(),
      ...parts.flatMap(({ name, graph }) =>
        graph.input
          .filter((each) => !states.has(each.name))
          .map((each) => stacked(each, loopNames.input(name, each.name), `rows of ${name}`)),
      ),
    ],
    output: [
      ...carried.map((label) => renamed(used.get(label)!, loopNames.next(label))),
      ...scans.map(([{ name, graph }, value]) => stacked(outputInfo(graph, value), loopNames.value(name, value), 'turns that ran')),
    ],
  });
  return toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, {
      irVersion: parsed[0]!.irVersion,
      producerName: 'onestep',
      opsetImport: [...versions].map(([domain, version]) => create(OperatorSetIdProtoSchema, { domain, version })),
      graph,
    }),
  );
}

/** States that some model updates. */
const carriedBy = (parts: readonly Part[]): readonly string[] => [...new Set(parts.flatMap(({ updates }) => updates))];

/** One turn. */
function bodyOf(parts: readonly Part[], states: ReadonlySet<string>, commit: string, hold: boolean): GraphProto {
  const carried = carriedBy(parts);
  const infos = new Map(parts.flatMap(({ graph }) => graph.input.map((each) => [each.name, each] as const)));
  const before = (label: string): string => `before/${label}`;
  // What is not updated is seen from outside under its own name.
  const current = new Map(carried.map((label) => [label, before(label)]));
  const nodes: NodeProto[] = [];
  const add = (type: string, inputs: readonly string[], output: string, attributes: readonly AttributeProto[] = []): string => {
    nodes.push(node(type, inputs, [output], attributes));
    return output;
  };
  const zero = int64('zero', 0);
  let good = 'going';
  const settled = new Map<string, string>();
  for (const part of parts) {
    const row = add('Gather', [loopNames.row(part.name), 'turn'], `${part.name}:row`);
    const runs = add('GreaterOrEqual', [row, 'zero'], `${part.name}:runs`);
    const inside = (name: string): string => `${part.name}:${name}`;
    const outputs = [...part.values, ...part.updates.map((label) => `next/${label}`)];
    nodes.push(
      node(
        'If',
        [runs],
        outputs.map((name) => inside(`${name}'`)),
        [
          graphAttribute(
            'then_branch',
            ran(part, states, row, (label) => current.get(label) ?? label),
          ),
          graphAttribute(
            'else_branch',
            idle(part, (label) => current.get(label)!),
          ),
        ],
      ),
    );
    for (const label of part.updates) (hold ? settled : current).set(label, inside(`next/${label}'`));
    if (!part.values.includes(commit)) continue;
    const flag = add('Cast', [inside(`${commit}'`)], inside('good'), [integer('to', ELEMENT_TYPE.bool)]);
    good = add('And', [good, flag], inside('good so far'));
  }
  for (const [label, value] of settled) current.set(label, value);
  for (const label of carried) add('Where', [good, current.get(label)!, before(label)], `after/${label}`);
  const value = (part: Part, name: string) => renamed(outputInfo(part.graph, name), `${part.name}:${name}'`);
  return create(GraphProtoSchema, {
    name: 'turn',
    node: nodes,
    initializer: [zero],
    input: [
      info('turn', ELEMENT_TYPE.int64, []),
      info('going', ELEMENT_TYPE.bool, []),
      ...carried.map((label) => renamed(infos.get(label)!, before(label))),
    ],
    output: [
      info(good, ELEMENT_TYPE.bool, []),
      ...carried.map((label) => renamed(infos.get(label)!, `after/${label}`)),
      ...parts.flatMap((part) => part.values.map((name) => value(part, name))),
    ],
  });
}

/** The model itself, its inputs taken from a row of what is fed. */
function ran(
  { name, graph, values, updates }: Part,
  states: ReadonlySet<string>,
  row: string,
  current: (label: string) => string,
): GraphProto {
  const fed = graph.input.filter((each) => !states.has(each.name));
  const inside = (value: string): string => (value === '' ? '' : `${name}:${value}`);
  const names = new Map(graph.input.map((each) => [each.name, states.has(each.name) ? current(each.name) : inside(each.name)] as const));
  const as = (value: string): string => names.get(value) ?? inside(value);
  return create(GraphProtoSchema, {
    name: `${name} runs`,
    node: [
      ...fed.map((each) => node('Gather', [loopNames.input(name, each.name), row], [as(each.name)])),
      ...graph.node.map((each) => create(NodeProtoSchema, { ...each, input: each.input.map(as), output: each.output.map(as) })),
    ],
    initializer: graph.initializer.map((each) => create(TensorProtoSchema, { ...each, name: inside(each.name) })),
    output: [...values, ...updates.map((label) => `next/${label}`)].map((output) => renamed(outputInfo(graph, output), inside(output))),
  });
}

/** Nothing happens: states stay, values are ones, among them what commits. */
function idle({ name, graph, values, updates }: Part, current: (label: string) => string): GraphProto {
  const inside = (value: string): string => `${name}:idle ${value}`;
  const infos = values.map((value) => outputInfo(graph, value));
  const constants = infos.map((each) => ones(each, inside(`${each.name} is`)));
  return create(GraphProtoSchema, {
    name: `${name} waits`,
    node: [
      ...infos.map((each) => node('Identity', [inside(`${each.name} is`)], [inside(each.name)])),
      ...updates.map((label) => node('Identity', [current(label)], [inside(`next/${label}`)])),
    ],
    initializer: constants,
    output: [...infos, ...updates.map((label) => outputInfo(graph, `next/${label}`))].map((each) => renamed(each, inside(each.name))),
  });
}
