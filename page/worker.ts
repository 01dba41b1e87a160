/** @file The worker of the page: holds runtime and student and does what the page orders, so that the page itself never waits. */
import { readJson } from './files.ts';
import type { Device, News, Order, Site } from './messages.ts';
import { type Engine, openEngine } from './runtime.ts';
import { openSampling, pause, type Sampling } from './sampling.ts';
import { openTraining, type Training } from './training.ts';

/** The other end of the wire. */
interface Port {
  postMessage(news: News, transfer?: readonly Transferable[]): void;
  onmessage: ((event: { readonly data: Order }) => void) | null;
}
const port = globalThis as unknown as Port;
const base = new URL('../../', import.meta.url);

interface Held {
  engine?: { readonly wanted: Device | 'auto'; readonly opened: Promise<Engine> };
  sampling?: Promise<Sampling>;
  training?: Promise<Training>;
}
const held: Held = {};
const last = { id: 0 };
const site = readJson<Site>('site.json', base);

/** Digits drawn while training, and steps between them. */
const SHOWN = 20;
const BETWEEN = 10;

async function engineOn(wanted: Device | 'auto'): Promise<Engine> {
  if (held.engine?.wanted !== wanted) {
    delete held.sampling;
    delete held.training;
    held.engine = { wanted, opened: openEngine(base, wanted, (await site).devices) };
  }
  return held.engine.opened;
}

const work: { readonly [K in Order['kind']]: (order: Extract<Order, { kind: K }>) => Promise<void> } = {
  async stop() {},
  async sample(order) {
    const engine = await ready(order);
    held.sampling ??= openSampling(engine, await site, base);
    await (await held.sampling).draw(order, () => order.id === last.id, tell);
  },
  async train(order) {
    const engine = await ready(order);
    const { training: name } = await site;
    held.training ??= openTraining(engine, name!, base);
    await train(await held.training, order);
  },
};

async function ready({ id, device }: Extract<Order, { device: unknown }>): Promise<Engine> {
  const engine = await engineOn(device);
  tell({ kind: 'device', id, device: engine.device, threads: engine.threads, note: engine.note });
  return engine;
}

async function train(training: Training, { id, steps }: Extract<Order, { kind: 'train' }>): Promise<void> {
  const end = Math.min(training.steps, training.made() + (steps ?? training.steps));
  const show = async (): Promise<void> => tell({ kind: 'preview', id, step: training.made(), images: await training.preview(SHOWN) });
  if (training.made() === 0) await show();
  while (training.made() < end && id === last.id) {
    const start = performance.now();
    const terms = await training.step();
    const seconds = (performance.now() - start) / 1000;
    tell({ kind: 'step', id, step: training.made(), steps: training.steps, terms, seconds });
    if (training.made() % BETWEEN === 0 || training.made() === end) await show();
    await pause();
  }
  tell({ kind: 'trained', id, step: training.made() });
}

/** News of orders that are no longer wanted are not told, but for steps: they were made. */
function tell(news: News): void {
  if (news.id !== last.id && news.kind !== 'step') return;
  port.postMessage(news, 'images' in news ? [news.images.buffer as ArrayBuffer] : []);
}

// One order after another: a session runs one thing at a time.
let queue: Promise<void> = Promise.resolve();
port.onmessage = ({ data: order }) => {
  last.id = order.id;
  queue = queue.then(async () => {
    if (order.id !== last.id) return;
    try {
      await work[order.kind](order as never);
    } catch (error) {
      // What failed to open may be tried again.
      delete held.engine;
      delete held.sampling;
      delete held.training;
      tell({ kind: 'failed', id: order.id, message: (error as Error).message?.split('\n')[0] ?? String(error) });
    }
  });
};
