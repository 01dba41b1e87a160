/** @file Where students may be called: every method's own phases say it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { resolve } from '../../engine/train/options.ts';
import { karras } from '../../samplers/karras.ts';
import { tinyCard, tinyModel } from '../testing/tiny.ts';
import { allMethods } from './methods.ts';
import { levelsIn, type TrainedLevels, trainedLevels } from './trained-levels.ts';

/** What each method with default options says of a student called at its default level. */
async function all(): Promise<Readonly<Record<string, TrainedLevels>>> {
  const students = (await allMethods()).filter(({ players, experts }) => 'student' in players && !experts);
  return Object.fromEntries(
    students.map((loss) => {
      const options = resolve(loss.name, loss.options, {}) as { readonly studentLevel?: number; readonly studentLevels?: number[] };
      return [loss.name, levelsIn(loss, options, tinyCard({ levels: options.studentLevels ?? [options.studentLevel!] }))];
    }),
  );
}

test('students of matching, of discriminators and of pairs know their own levels only; consistency functions know all', {
  timeout: 180_000,
}, async () => {
  const found = await all();
  const of = (kind: TrainedLevels['kind']) => Object.keys(found).filter((name) => found[name]!.kind === kind);
  const consistency = ['cd', 'ct', 'ctm', 'ect', 'lcm', 'mdt', 'meanflow', 'pcm', 'rcm', 'scm', 'tbcm', 'tcm', 'tscd', 'twinflow'];
  expect(of('range')).toEqual(expect.arrayContaining(consistency));
  const matching = ['boot', 'dmd', 'dmd2', 'drift', 'f-distill', 'gdd', 'kd', 'ladd', 'sid', 'snoopi'];
  expect(of('single')).toEqual(expect.arrayContaining(matching));
  for (const name of ['dmd', 'dmd2', 'gdd', 'kd']) expect(found[name]).toEqual({ kind: 'single', levels: [80] });
  expect(found['sid']).toEqual({ kind: 'single', levels: [2.5] });
  // CD draws among 40 levels of the schedule; the lowest is a target only.
  const second = karras(tinyCard().schedule).levels(40).at(-2)!;
  expect(found['cd']).toEqual({ kind: 'range', low: expect.closeTo(second, 6), high: 80 });
  // Log-normal levels have no end: ln σ has mean 0 and deviation 2 (scm: −0.5 and 2.2), of which 2,048 draws reach about 3.4 deviations.
  for (const { low, high } of [found['meanflow'], found['scm']] as { low: number; high: number }[])
    expect([low < 0.05, high > 80]).toEqual([true, true]);
});

test('options that a run was made with count: several levels, a share of noised data, the second stage of reflow', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'levels-'));
  const at = async (settings: Readonly<Record<string, unknown>>, levels: readonly number[]) => {
    await writeFile(join(folder, 'config.json'), JSON.stringify(settings));
    return trainedLevels({ ...tinyModel({ method: String(settings['method']), levels }), source: folder });
  };
  try {
    expect(await at({ method: 'dmd2', steps: 3 }, [80, 24, 5])).toEqual({ kind: 'single', levels: [80, 24, 5] });
    // Levels that were put on the card later may be used beside those of the training.
    expect(await at({ method: 'dmd2', studentLevels: [80, 5] }, [80, 24])).toEqual({ kind: 'single', levels: [80, 24, 5] });
    expect(await at({ method: 'tscd', studentLevels: [80] }, [80, 0.8])).toMatchObject({ kind: 'range', high: 80 });
    expect(await at({ method: 'ladd', pure: 0.5 }, [80])).toMatchObject({ kind: 'range' });
    expect(await at({ method: 'reflow', stage: 'reflow' }, [80])).toMatchObject({ kind: 'range', high: 80 });
    expect(await at({ method: 'reflow', stage: 'distil', guideWeight: 0 }, [80])).toEqual({ kind: 'single', levels: [80] });
    // Settings of another method are not its own; one that is not known is what its card says.
    expect(await at({ method: 'no-such-method' }, [80, 3])).toEqual({ kind: 'single', levels: [80, 3] });
  } finally {
    await rm(folder, { recursive: true });
  }
});
