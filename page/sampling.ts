/** @file Draws samples of the student, batch by batch. */
import { studentFeeds } from '../student/feeds.ts';
import { readFile } from './files.ts';
import type { News, Order, Site } from './messages.ts';
import type { Engine } from './runtime.ts';

/** Samples at once: few enough that the first are soon to be seen. */
const BATCH = 16;

/** A student that is loaded on an engine. */
export interface Sampling {
  /** Draws until done or until `goesOn` says no. */
  draw(order: Extract<Order, { kind: 'sample' }>, goesOn: () => boolean, tell: (news: News) => void): Promise<void>;
}

export async function openSampling(engine: Engine, site: Site, base: URL): Promise<Sampling> {
  const session = await engine.session(await readFile(site.student, base));
  let fresh = true;
  return {
    async draw({ id, n, seed, labels }, goesOn, tell) {
      let seconds = 0;
      for (let first = 0; first < n; first += BATCH) {
        const count = Math.min(BATCH, n - first);
        const feeds = studentFeeds(site, { seed, first, count, labels: labels?.slice(first, first + count) ?? null });
        const start = performance.now();
        const { image } = await session.run(Object.fromEntries(Object.entries(feeds).map(([name, value]) => [name, engine.tensor(value)])));
        seconds += (performance.now() - start) / 1000;
        await pause();
        if (!goesOn()) return;
        tell({ kind: 'images', id, first, images: image!.data as Float32Array });
      }
      tell({ kind: 'sampled', id, n, seconds, fresh });
      fresh = false;
    },
  };
}

/** Lets messages in. */
export const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));
