/** @file The part of the page that trains: a button, how far it is, the loss and samples on the way. */
import { curveOn } from './curve.ts';
import type { Device, News, Order } from './messages.ts';
import { showSamples } from './picture.ts';

type Draft<T> = T extends unknown ? Omit<T, 'id'> : never;

export interface TrainingSettings {
  /** Of a sample. */
  readonly shape: readonly [number, number, number];
  readonly order: (order: Draft<Order>, reader: (news: News) => void) => void;
  readonly device: () => Device | 'auto';
  /** The device in words. */
  readonly where: (news: Extract<News, { kind: 'device' }>) => string;
}

/** Wires the part. The address may say how many steps a press of the button makes: `?steps=20`. */
export function trainingPart({ shape, order, device, where }: TrainingSettings): void {
  const at = <T extends Element>(id: string): T => document.getElementById(id) as unknown as T;
  const [button, status, progress, grid] = [
    at<HTMLButtonElement>('train'),
    at<HTMLElement>('training-status'),
    at<HTMLProgressElement>('progress'),
    at<HTMLElement>('preview'),
  ];
  const steps = Number(new URLSearchParams(location.search).get('steps')) || null;
  const curves = new Map(
    [...document.querySelectorAll<SVGPolylineElement>('#curves polyline')].map((line) => [
      line.dataset['term']!,
      curveOn(line, at(`last-${line.dataset['phase']}`), () => progress.max),
    ]),
  );
  const log: Record<string, number>[] = [];
  let [running, place, spent] = [false, '', 0];
  progress.value = 0;
  const stopped = (): string => `Stopped after step ${progress.value}.`;
  const rest = (text: string): void => {
    running = false;
    button.textContent = progress.value >= progress.max ? 'Trained' : progress.value > 0 ? 'Go on' : 'Train';
    button.disabled = progress.value >= progress.max;
    status.textContent = text;
  };
  const read = (news: News): void => {
    if (news.kind === 'device') place = where(news);
    if (news.kind === 'ended' && running) rest(stopped());
    if (news.kind === 'failed') rest(`Not trained: ${news.message}.`);
    if (news.kind === 'preview')
      showSamples(grid, { first: 0, images: news.images, shape, name: (i) => `sample ${i + 1} of the student at step ${news.step}` });
    if (news.kind === 'step') {
      progress.max = news.steps;
      progress.value = news.step;
      if (news.step === 1) [log.length, spent] = [0, 0]; // on another device it starts again
      spent += news.seconds;
      log.push({ ...news.terms });
      for (const [term, curve] of curves) if (term in news.terms) curve.add(news.step, news.terms[term]!);
      const now = `Step ${news.step} of ${news.steps}, ${(1000 * (spent / log.length)).toFixed(0)} ms a step on ${place}.`;
      if (running) status.textContent = now;
      else rest(stopped()); // it was under way when another order came
      // What a reader may want to keep: the terms of every step.
      at<HTMLElement>('terms').textContent = log.map((terms) => JSON.stringify(terms)).join('\n');
    }
    if (news.kind === 'trained')
      rest(`${news.step} steps made, ${(1000 * (spent / Math.max(1, log.length))).toFixed(0)} ms a step on ${place}.`);
  };
  button.addEventListener('click', () => {
    if (running) {
      order({ kind: 'stop' }, () => {});
      return;
    }
    running = true;
    button.textContent = 'Stop';
    status.textContent = 'Loading the programs …';
    order({ kind: 'train', device: device(), steps }, read);
  });
}
