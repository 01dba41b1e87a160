/** @file Evaluations beside training: the numbers of those in line, steps that do not wait for them, and none that is lost when a run is stopped or killed. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { loadDataset } from '../../data/registry.ts';
import { checkpointPath, listCheckpoints } from '../../engine/train/checkpoint.ts';
import { readLog } from '../../engine/train/logs.ts';
import type { Loss } from '../../engine/train/loss.ts';
import edm from '../../losses/edm.ts';
import { commandLine, start } from '../testing/command.ts';
import { TINY_NETWORK, TINY_RUN, tinyModel, writePictures } from '../testing/tiny.ts';
import { bestOf } from './best-checkpoint.ts';
import { loadModel, type Model } from './model.ts';
import { planOf } from './plan.ts';
import type * as scores from './scores.ts';
import { evaluationHere, imagesOf } from './scores-here.ts';
import { type RunEvent, runTraining } from './training.ts';

/** What stands for the thread: an evaluation is answered when the test says so. */
interface Asked {
  readonly step: number;
  /** The first weights as they were handed over. */
  readonly weights: Model['weights'];
  answer(distance: number): void;
  fail(error: Error): void;
}
const thread = vi.hoisted(() => ({ asked: [] as Asked[], closed: 0, onAsked: (_: Asked): void => {} }));
vi.mock('./scores.ts', async (original) => {
  const real = await original<typeof scores>();
  return {
    ...real,
    evaluationOf: async (data: string) => {
      if (data === 'digits') return real.evaluationOf(data);
      return {
        run: ({ model }: scores.ScoreRequest) =>
          new Promise((resolve, reject) => {
            const weights = new Map([...model.weights].map(([name, w]) => [name, { ...w, data: w.data.slice() }]));
            const asked: Asked = {
              step: model.card.step,
              weights,
              answer: (training) => resolve({ frechet: { heldOut: 2 * training, training }, classAccuracy: null }),
              fail: reject,
            };
            thread.asked.push(asked);
            thread.onAsked(asked);
          }),
        close: async () => {
          thread.closed += 1;
        },
      };
    },
  };
});

let folder = '';
let data = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'scoring-'));
  data = await writePictures(join(folder, 'pictures'), 12, 8);
});
beforeEach(() => Object.assign(thread, { asked: [], closed: 0, onAsked: () => {} }));
afterAll(() => rm(folder, { recursive: true }));

interface Training {
  readonly resume?: boolean;
  readonly signal?: AbortSignal;
  readonly more?: Readonly<Record<string, unknown>>;
  readonly onStep?: (step: number) => void;
}
async function train(name: string, { resume = false, signal, more = {}, onStep }: Training = {}) {
  const settings = {
    ...TINY_NETWORK,
    data: 'fashion-mnist', // whose evaluation is the test's own
    batch: 4,
    threads: 1,
    sampleEvery: 0,
    logEvery: 1,
    checkpointEvery: 3,
    evaluateEvery: 2,
    steps: 6,
  };
  const events: RunEvent[] = [];
  const plan = planOf(edm as unknown as Loss, 'song-unet', { ...settings, ...more });
  const result = await runTraining({
    plan,
    command: 'train',
    folder: join(folder, name),
    split: plan.run.data === 'digits' ? await loadDataset('digits') : await loadDataset(data, { size: 8, channels: 1 }),
    teacher: null,
    start: null,
    resume,
    ...(signal ? { signal } : {}),
    onEvent(event) {
      events.push(event);
      if (event.kind === 'step') onStep?.(event.report.step);
    },
  });
  return { result, notes: events.flatMap((event) => (event.kind === 'note' ? [event.text] : [])) };
}
const stepsOf = async (name: string): Promise<number[]> => (await listCheckpoints(join(folder, name))).map(({ step }) => step);
const sorted = (weights: Model['weights']) => [...weights].sort(([a], [b]) => (a < b ? -1 : 1));
/** Lines of the log: `3` for a step, `3=` and its distance for an evaluation. */
const linesOf = async (name: string): Promise<string[]> =>
  (await readLog(join(folder, name))).map((line) => ('scores' in line ? `${line.step}=${line.scores['frechetTraining']}` : `${line.step}`));

test('steps go on while an evaluation is pending; at the next one, training waits for it', async () => {
  const order: string[] = [];
  const answers = new Map<number, () => void>();
  thread.onAsked = (asked) => {
    order.push(`asked ${asked.step}`);
    answers.set(asked.step, () => {
      order.push(`answered ${asked.step}`);
      asked.answer(1 / asked.step);
    });
    if (asked.step === 6) setImmediate(() => answers.get(6)!());
  };
  // Each is answered after the step at which the next one is due, which waits for it.
  const onStep = (step: number): void => {
    order.push(`step ${step}`);
    const answer = answers.get(step - 2);
    if (answer && step % 2 === 0) setImmediate(answer);
  };
  const { result } = await train('waits', { onStep });
  expect(order).toEqual([
    ...['step 1', 'step 2', 'asked 2', 'step 3', 'step 4', 'answered 2'],
    ...['asked 4', 'step 5', 'step 6', 'answered 4', 'asked 6', 'answered 6'],
  ]);
  expect(await linesOf('waits')).toEqual(['1', '2', '3', '4', '2=0.5', '5', '6', '4=0.25', '6=0.16666666666666666']);
  expect(result.best).toEqual({ step: 6, distance: 1 / 6, path: checkpointPath(join(folder, 'waits'), 6) });
  expect(thread.closed).toBe(1);
});

test('the weights are those of the step, whatever training makes of them', async () => {
  thread.onAsked = (asked) => setTimeout(() => asked.answer(1), 50);
  await train('weights', { more: { keep: 9 } });
  for (const { step, weights } of thread.asked)
    expect(sorted(weights)).toEqual(sorted((await loadModel(checkpointPath(join(folder, 'weights'), step))).weights));
});

test('a run that is stopped leaves its evaluation to the one that goes on, which makes it of the same weights', async () => {
  const controller = new AbortController();
  const { result, notes } = await train('stopped', {
    signal: controller.signal,
    more: { keep: 1 },
    onStep: (step) => step === 3 && controller.abort(),
  });
  expect([result.step, result.best]).toEqual([3, null]);
  expect(notes).toEqual(['the evaluation of step 2 is not finished; a run that goes on with --resume makes it']);
  expect(await stepsOf('stopped')).toEqual([2, 3]); // that of 2 is spared, though one is kept
  const [left] = thread.asked.splice(0);
  thread.onAsked = (asked) => setTimeout(() => asked.answer(asked.step), 0);
  const again = await train('stopped', { resume: true, more: { keep: 1 } });
  expect(thread.asked.map(({ step }) => step)).toEqual([2, 4, 6]);
  expect(sorted(thread.asked[0]!.weights)).toEqual(sorted(left!.weights));
  expect((await linesOf('stopped')).toSorted()).toEqual(['1', '2', '2=2', '3', '4', '4=4', '5', '6', '6=6']);
  expect(again.result.best).toMatchObject({ step: 2, distance: 2 });
  expect(await stepsOf('stopped')).toEqual([2, 6]);
});

test('stopped while it waits, also at its end, a run loses no evaluation', async () => {
  const controller = new AbortController();
  // At step 4 the evaluation of step 2 is waited for.
  const { result, notes } = await train('waiting', {
    signal: controller.signal,
    onStep: (step) => step === 4 && setTimeout(() => controller.abort(), 100),
  });
  expect([result.step, notes]).toEqual([4, [expect.stringMatching(/^the evaluation of step 2 is not/)]]);
  const second = new AbortController();
  thread.onAsked = (asked) => (asked.step === 6 ? setTimeout(() => second.abort(), 100) : setTimeout(() => asked.answer(1), 0));
  const end = await train('waiting', { resume: true, signal: second.signal });
  expect([end.result.finished, end.notes.at(-2)]).toEqual([true, expect.stringMatching(/^the evaluation of step 6 is not finished/)]);
  thread.onAsked = (asked) => asked.answer(0.5);
  const last = await train('waiting', { resume: true });
  expect(thread.asked.map(({ step }) => step)).toEqual([2, 2, 4, 6, 6]);
  expect(last.result.best).toMatchObject({ step: 6, distance: 0.5 });
  expect((await linesOf('waiting')).filter((line) => line.includes('='))).toEqual(['2=1', '4=1', '6=0.5']);
});

test('a thread that ends is told, and the run goes on; a mistake ends it', async () => {
  thread.onAsked = ({ step, answer, fail }) => (step === 2 ? fail(new Error('worker exited with code: 134')) : answer(1));
  const { notes, result } = await train('ended');
  expect(notes[0]).toBe('the evaluation of step 2 is left out: its thread ended (exit code 134)');
  expect(result).toMatchObject({ finished: true, best: { step: 4 } });
  thread.onAsked = ({ fail }) => fail(new Error('internal: of no features'));
  await expect(train('failed')).rejects.toThrow('internal: of no features');
});

test('weights of a step that was skipped are measured, but are in no checkpoint and never the best', async () => {
  thread.onAsked = ({ answer, step }) => answer(step === 4 ? 1 : 0.5);
  await train('spoilt', { more: { steps: 4, evaluateEvery: 4 } });
  const before = await stepsOf('spoilt');
  // The first step with this rate spoils the weights; every later one is skipped, and twenty of them end the run.
  const spoilt = train('spoilt', { resume: true, more: { steps: 100, lr: 1e30, clip: 0, evaluateEvery: 7 } });
  await expect(spoilt).rejects.toThrow('20 steps in a row were not finite');
  expect((await linesOf('spoilt')).filter((line) => line.includes('='))).toEqual(expect.arrayContaining(['4=1', '7=0.5', '14=0.5']));
  expect(await stepsOf('spoilt')).toEqual(before);
  expect(await bestOf(join(folder, 'spoilt'))).toEqual({ step: 4, distance: 1 });
});

test('the numbers are those of an evaluation in line at that step', { timeout: 240_000 }, async () => {
  const more = { data: 'digits', evaluateSamples: 20, keep: 9, steps: 4 };
  await train('digits', { more });
  const rows = (await readLog(join(folder, 'digits'))).flatMap((line) => ('scores' in line ? [line] : []));
  expect(rows.map(({ step }) => step)).toEqual([2, 4]);
  const here = await evaluationHere('digits');
  for (const { step, scores: found } of rows) {
    const model = await loadModel(checkpointPath(join(folder, 'digits'), step));
    const { frechet, classAccuracy } = await here.run({ model, n: 20, seed: 0, threads: 1 });
    expect(found).toEqual({ frechetHeldOut: frechet.heldOut, frechetTraining: frechet.training, classAccuracy });
  }
  // The others too; and one that is closed while it works ends.
  const { evaluationOf } = await import('./scores.ts');
  const request = { model: tinyModel(), n: 20, seed: 3, threads: 1 };
  const beside = (await evaluationOf('digits'))!;
  const running = beside.run(request);
  const other = (await evaluationOf('digits'))!;
  const refused = expect(other.run({ ...request, n: 2000 })).rejects.toThrow();
  setTimeout(() => void other.close(), 1500);
  const wanted = await here.run(request);
  expect(await running).toEqual(wanted);
  // As for devices that one thread alone may use: the samples go over in place of the weights.
  expect(await beside.run({ ...request, images: await imagesOf(request) })).toEqual(wanted);
  expect(await beside.prepare!(request)).toEqual(request);
  await refused;
  await Promise.all([here.close(), beside.close()]);
});

// Three processes that open the data's features: a minute and more. That kills lose nothing is tested without evaluations too (kill.test.ts).
test.runIf(process.env['ONESTEP_PROOF'])(
  'a run that is killed while it is evaluated comes to the same model and the same lines',
  { timeout: 240_000 },
  async () => {
    const words = ['--data', 'digits', ...TINY_RUN, '--steps', '12', '--evaluate-every', '4', '--evaluate-samples', '20'];
    const line = commandLine();
    const run = (name: string) =>
      start(['train', ...words, '--checkpoint-every', '3', '--json', '--resume', '--out', join(folder, name)], line);
    expect(await run('straight').ended).toMatchObject({ code: 0 });
    const killed = run('killed');
    killed.child.stdout!.on('data', (part: Buffer) => {
      // Between this checkpoint and the next evaluation, that of step 4 is on its way.
      if (/"kind":"checkpoint".*"step":6/.test(part.toString())) killed.child.kill('SIGKILL');
    });
    expect(await killed.ended).toMatchObject({ signal: 'SIGKILL' });
    const before = await linesOf('killed');
    expect(before.filter((text) => text.includes('='))).toEqual([]);
    expect(await run('killed').ended).toMatchObject({ code: 0 });
    expect((await linesOf('killed')).toSorted()).toEqual((await linesOf('straight')).toSorted());
    const [a, b] = await Promise.all(['killed', 'straight'].map((name) => readFile(join(folder, name, 'model.safetensors'))));
    expect(a).toEqual(b);
  },
);
