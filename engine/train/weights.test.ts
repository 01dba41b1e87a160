/** @file Weights: declaring, starting values, packing, and what does not fit. */
import { describe, expect, test } from 'vitest';
import { leafOf, state } from '../graph/ops/leaf.ts';
import { evaluate } from '../graph/reference.ts';
import { InputError } from '../io/errors.ts';
import { type Scope, within } from './network.ts';
import {
  checkWeights,
  constantScope,
  type Declaration,
  initialise,
  layoutOf,
  layoutSize,
  pack,
  packedScope,
  recordingScope,
  unpackWeights,
  type Weights,
} from './weights.ts';

const weight = (shape: readonly number[], ...data: number[]) => ({ shape, data: Float32Array.from(data) });
/** Asks for three weights and a buffer between them. */
function declare(scope: Scope) {
  const inner = within(scope, 'block.');
  return [
    inner('weight', [2, 2], { kind: 'normal', std: 0.5 }),
    inner.buffer('table', [3], { kind: 'constant', value: 2 }),
    inner('bias', [2]),
    scope('gain', [], { kind: 'uniform', bound: 3 }),
  ];
}
const declared = (): readonly Declaration[] => {
  const { scope, declared: all } = recordingScope('student');
  declare(scope);
  return [...all.values()];
};

describe('recording', () => {
  test('keeps names, shapes and what is trained, in order', () => {
    expect(declared().map(({ name, shape, trained }) => [name, shape, trained])).toEqual([
      ['block.weight', [2, 2], true],
      ['block.table', [3], false],
      ['block.bias', [2], true],
      ['gain', [], true],
    ]);
  });
  test('gives one tensor per name, and refuses two shapes', () => {
    const { scope, declared: all } = recordingScope('student');
    expect(scope('w', [2])).toBe(scope('w', [2]));
    expect(all.size).toBe(1);
    expect(() => scope('w', [3])).toThrow('internal: student: w is asked for as [2] and as [3]');
  });
});

describe('starting values', () => {
  const plain = (weights: Weights) => Object.fromEntries([...weights].map(([name, w]) => [name, [...w.data]]));

  test('depend on seed, player and name alone', () => {
    const all = initialise(declared(), 7, 'student');
    const turned = initialise([...declared()].reverse().slice(0, 3), 7, 'student');
    for (const [name, w] of turned) expect([...w.data], name).toEqual([...all.get(name)!.data]);
    expect(plain(initialise(declared(), 7, 'student'))).toEqual(plain(all));
    for (const other of [initialise(declared(), 8, 'student'), initialise(declared(), 7, 'fake')]) {
      for (const name of ['block.weight', 'gain']) expect([...other.get(name)!.data]).not.toEqual([...all.get(name)!.data]);
    }
    const renamed = initialise([{ ...declared()[0]!, name: 'other' }], 7, 'student');
    expect([...renamed.get('other')!.data]).not.toEqual([...all.get('block.weight')!.data]);
  });

  test('follow their distributions', () => {
    const of = (init: Declaration['init']): Float32Array =>
      initialise([{ name: 'w', shape: [100, 100], init, trained: true }], 1, 'p').get('w')!.data;
    const normal = of({ kind: 'normal', std: 0.5 });
    const uniform = of({ kind: 'uniform', bound: 3 });
    const mean = (v: Float32Array): number => v.reduce((a, b) => a + b, 0) / v.length;
    const meanSquare = (v: Float32Array): number => mean(v.map((x) => x * x));
    // Standard errors of 10,000 samples: of the mean std/100; of the mean square √2 std²/100, and for uniforms √(1/5 − 1/9) b²/100.
    expect(Math.abs(mean(normal))).toBeLessThan(4 * 0.005);
    expect(Math.abs(meanSquare(normal) - 0.25)).toBeLessThan(4 * 0.0035);
    expect(Math.abs(mean(uniform))).toBeLessThan((4 * 3) / Math.sqrt(3) / 100);
    expect(Math.abs(meanSquare(uniform) - 3)).toBeLessThan(4 * 0.027);
    expect(Math.max(...uniform.map(Math.abs))).toBeLessThanOrEqual(3);
    expect(new Set(of({ kind: 'constant', value: 1.5 }))).toEqual(new Set([1.5]));
    const given = Float32Array.of(1, 2);
    const copied = initialise([{ name: 'w', shape: [2], init: { kind: 'values', values: given }, trained: true }], 1, 'p').get('w')!.data;
    expect(copied).toEqual(given);
    expect(copied).not.toBe(given);
  });
});

describe('one vector', () => {
  const layout = layoutOf(declared());
  const weights: Weights = new Map([
    ['gain', weight([], 7)],
    ['block.bias', weight([2], 5, 6)],
    ['block.table', weight([3], 9, 9, 9)],
    ['block.weight', weight([2, 2], 1, 2, 3, 4)],
  ]);

  test('holds what is trained, in the order of declaration', () => {
    expect(layout.map(({ name, offset }) => [name, offset])).toEqual([
      ['block.weight', 0],
      ['block.bias', 4],
      ['gain', 6],
    ]);
    expect(layoutSize(layout)).toBe(7);
    expect([...pack(layout, weights)]).toEqual([1, 2, 3, 4, 5, 6, 7]);
    const back = unpackWeights(layout, pack(layout, weights));
    expect([...back].map(([name, w]) => [name, w.shape, [...w.data]])).toEqual([
      ['block.weight', [2, 2], [1, 2, 3, 4]],
      ['block.bias', [2], [5, 6]],
      ['gain', [], [7]],
    ]);
  });

  test('is cut up in the graph as it was packed; buffers are constants', () => {
    const tensors = declare(packedScope(state('student', [7]), layout, weights));
    const values = evaluate(tensors, { student: pack(layout, weights) });
    expect(values.map((v) => [v.shape, [...v.data]])).toEqual([
      [
        [2, 2],
        [1, 2, 3, 4],
      ],
      [[3], [9, 9, 9]],
      [[2], [5, 6]],
      [[], [7]],
    ]);
    expect(leafOf(tensors[1]!)!.kind).toBe('constant');
    expect(() => packedScope(state('student', [7]), layout, weights)('other', [1])).toThrow('weights: other should be [1], but is missing');
  });

  test('frozen weights are constants, one per name', () => {
    const scope = constantScope(weights);
    const tensors = declare(scope);
    expect(tensors.map((t) => leafOf(t)!.kind)).toEqual(Array(4).fill('constant'));
    expect(declare(scope)).toEqual(tensors);
    expect(() => constantScope(weights)('gain', [2])).toThrow('weights: gain should be [2], but is []');
    expect(() => scope('none', [2])).toThrow('weights: none should be [2], but is missing');
  });
});

describe('what does not fit', () => {
  const whole = (): Map<string, { shape: readonly number[]; data: Float32Array }> => new Map(initialise(declared(), 1, 'student'));

  test('what fits is accepted', () => {
    expect(() => checkWeights('student', declared(), whole())).not.toThrow();
  });

  test('missing, misshapen and surplus weights are named, three at most', () => {
    const weights = whole();
    weights.delete('gain');
    weights.set('block.bias', weight([3], 0, 0, 0));
    weights.set('extra', weight([1], 0));
    expect(() => checkWeights('file.safetensors', declared(), weights)).toThrow(
      'file.safetensors: the weights do not fit the network: block.bias is [3], should be [2]; gain [] is missing; extra [1] is not part of the network',
    );
    weights.set('more', weight([1], 0));
    weights.set('most', weight([1], 0));
    expect(() => checkWeights('file', declared(), weights)).toThrow(
      / gain \[\] is missing; extra \[1\] is not part of the network; and 2 more$/,
    );
    expect(() => checkWeights('file', declared(), weights)).toThrow(InputError);
  });
});
