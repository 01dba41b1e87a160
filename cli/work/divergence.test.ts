/** @file Signs of training that goes wrong, each told once, and remedies that the method really has. */
import { describe, expect, test } from 'vitest';
import type { Loss } from '../../engine/train/loss.ts';
import { flatFacts } from '../config.ts';
import { openWatch } from './divergence.ts';
import { allMethods, method } from './methods.ts';
import { groupsOf, type Plan, planOf } from './plan.ts';
import { asFlags, remediesFor } from './remedies.ts';

const DIGIT = 784;
const planFor = async (name: string, flat: Readonly<Record<string, unknown>> = {}): Promise<Plan> =>
  planOf(await method(name), null, { threads: 1, ...flat });
const flagsOf = async (name: string, flat: Readonly<Record<string, unknown>> = {}): Promise<string> =>
  asFlags(remediesFor(await planFor(name, flat), DIGIT));
/** A step whose phase had this norm. */
const at = (step: number, norm: number, skipped = 0, phase = 'student') => ({
  step,
  nimg: step,
  terms: { [`${phase}/gradientNorm`]: norm, [`${phase}/loss`]: 1e9 },
  rates: {},
  skipped,
});

describe('signs', () => {
  test('a step that was skipped, once, and not those from before the run was continued', async () => {
    const watch = openWatch(await planFor('dmd2'), 3, DIGIT);
    expect(watch.step(at(1, 1, 3))).toBeNull();
    expect(watch.step(at(2, Number.NaN, 4))).toMatch(
      /^training may be going wrong at step 2: a loss or gradient was not finite, and the step was skipped; likeliest to help: --gan-weight /,
    );
    expect(watch.step(at(3, 1, 5))).toBeNull();
  });
  test('a gradient of more than a hundred times its median, ten steps in a row; shorter bursts and other phases do not count', async () => {
    const watch = openWatch(await planFor('dmd2'), 0, DIGIT);
    let step = 0;
    const tell = (n: number, norm: number, phase?: string) =>
      Array.from({ length: n }, () => watch.step(at(++step, norm, 0, phase))).flatMap((text) => text ?? []);
    expect(tell(60, 2)).toEqual([]);
    expect(tell(9, 900)).toEqual([]);
    expect(tell(1, 2)).toEqual([]);
    expect(tell(30, 190)).toEqual([]);
    expect(tell(12, 900, 'critic')).toEqual([]);
    expect(tell(12, 900)).toEqual([
      expect.stringMatching(
        /^training may be going wrong at step 122: the gradient of student is 4\.5e\+2 times its median, 10 steps in a row; /,
      ),
    ]);
    expect(tell(40, 1e6)).toEqual([]);
  });
  test('a phase that has had nothing to learn, and a rise that the median follows, are none', async () => {
    const watch = openWatch(await planFor('dmd2'), 0, DIGIT);
    const norms = [...Array(120).fill(0), ...Array.from({ length: 2000 }, (_, i) => 1e-6 * 1.01 ** i)];
    expect(norms.flatMap((norm, i) => watch.step(at(i, norm)) ?? [])).toEqual([]);
  });
  test('a distance of more than twice the best, or none, once', async () => {
    const watch = openWatch(await planFor('cd'), 0, DIGIT);
    expect([watch.scored(1, 9, null), watch.scored(2, 2, 1)]).toEqual([null, null]);
    expect(watch.scored(3, 2.01, 1)).toMatch(
      /^training may be going wrong at step 3: the distance 2\.01 is more than 2 times the best so far, 1; /,
    );
    expect(watch.scored(4, 5, 1)).toBeNull();
    expect(openWatch(await planFor('cd'), 0, DIGIT).scored(3, Number.NaN, 1)).toMatch(/the distance NaN is more than 2 times/);
  });
});

describe('remedies', () => {
  test('of DMD2: its adversarial weight, more critic, a faster fake score; the present value of each', async () => {
    expect(await flagsOf('dmd2')).toBe('--gan-weight 0.001 (now 0.003); --ratio 10 (now 5); --lr-scale fake=3 (now none)');
    expect(await flagsOf('dmd2', { ganWeight: 0.3, ratio: 2, lrScale: ['fake=4', 'discriminator=3'] })).toBe(
      '--gan-weight 0.1 (now 0.3); --ratio 4 (now 2); --lr-scale fake=4,discriminator=1.5 (now fake=4,discriminator=3)',
    );
  });
  test('without a discriminator there is nothing to lower of it', async () => {
    expect(await flagsOf('dmd2', { ganWeight: 0 })).toBe('--ratio 10 (now 5); --lr-scale fake=3 (now none); --lr 0.00033 (now 0.001)');
    expect(await flagsOf('sid')).not.toMatch(/gan|discriminator/);
    expect(await flagsOf('sid', { ganWeight: 3e-4 })).toMatch(/^--gan-weight 0\.0001 \(now 0\.0003\); --lr-scale fake=3/);
  });
  test('of a discriminator alone: its rate, its penalty, then the rate', async () => {
    expect(await flagsOf('gdd')).toBe('--lr-scale discriminator=0.5 (now none); --r1 0.1 (now 0.01); --lr 0.000033 (now 0.0001)');
  });
  test('of consistency: a lower rate, longer stages, a larger constant of the pseudo-Huber distance', async () => {
    // 0.00054 √784 = 0.0151.
    expect(await flagsOf('ect')).toBe('--lr 0.00013 (now 0.0004); --stages 16 (now 8); --huber 0.015 (now 0)');
    expect(await flagsOf('cd')).toBe('--lr 0.00013 (now 0.0004); --huber 0.015 (now 0); --decay 0.98 (now 0.95)');
    expect(await flagsOf('cd', { pairing: 'gap' })).toMatch(/--stages 16 \(now 8\)/);
  });
  test('of anything else: rate, clipping, a longer average', async () => {
    expect(await flagsOf('drift', { clip: 0 })).toBe(
      '--lr 0.00033 (now 0.001); --clip 1 (now 0); --averages constant:0.9999 (now constant:0.999)',
    );
  });
  test('of every method are three of its own flags, with values that it accepts', { timeout: 300_000 }, async () => {
    for (const loss of (await allMethods()) as Loss[]) {
      const network = 'teacher' in loss.players || 'student' in loss.players ? null : 'song-unet';
      const plan = planOf(loss, network, { threads: 1 });
      const remedies = remediesFor(plan, DIGIT);
      const known = flatFacts(groupsOf(loss, network)).map(({ name }) => name);
      expect(known).toEqual(expect.arrayContaining(remedies.map(({ option }) => option)));
      expect(remedies, loss.name).toHaveLength(3);
      const values = Object.fromEntries(
        remedies.map(({ option, better }) => [option, ['lrScale', 'averages'].includes(option) ? better.split(',') : Number(better)]),
      );
      const other = planOf(loss, network, { threads: 1, ...values });
      for (const { option } of remedies) expect(other.flat[option], `${loss.name} ${option}`).not.toEqual(plan.flat[option]);
    }
  });
});
