/** @file The page: its form, its samples and what it says. All computing is the worker's. */
import { labelsInTurn } from '../student/labels.ts';
import { readJson } from './files.ts';
import type { Device, News, Order, Site } from './messages.ts';
import { sheetOf, showSamples } from './picture.ts';
import { trainingPart } from './training-part.ts';

const base = new URL('../../', import.meta.url);
const at = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const [form, status, grid, save] = [at<HTMLFormElement>('controls'), at('status'), at('samples'), at<HTMLButtonElement>('save')];
const [seed, count, label, device] = [
  at<HTMLInputElement>('seed'),
  at<HTMLInputElement>('count'),
  at<HTMLSelectElement>('label'),
  at<HTMLSelectElement>('device'),
];

type Draft<T> = T extends unknown ? Omit<T, 'id'> : never;
type Reader = (news: News) => void;

/** Sends orders to the worker; news of the last one go to its reader, and steps that an earlier one still made to that one's. */
function wire(): (order: Draft<Order>, reader: Reader) => void {
  const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
  let id = 0;
  const readers = new Map<number, Reader>();
  worker.onmessage = ({ data }: { readonly data: News }) => {
    if (data.id === id || data.kind === 'step') readers.get(data.id)?.(data);
  };
  worker.onerror = (event) => say(`The page cannot compute: ${event.message || 'its worker did not start'}.`);
  return (order, next) => {
    readers.get(id)?.({ kind: 'ended', id });
    id += 1;
    readers.set(id, next);
    worker.postMessage({ ...order, id } as Order);
  };
}

const say = (text: string): void => {
  status.textContent = text;
};
const where = ({ device: name, threads, note }: Extract<News, { kind: 'device' }>): string =>
  `${name === 'webgpu' ? 'WebGPU' : `WASM, ${threads} thread${threads === 1 ? '' : 's'}`}${note ? ` (${note})` : ''}`;
const chosen = (): Device | 'auto' => device.value as Device | 'auto';

const site = await readJson<Site>('site.json', base);
const shape = site.shape as unknown as readonly [number, number, number];
const order = wire();
const classOf = (i: number, labels: Int32Array | null): string => (labels ? `, class ${label.options[labels[i]! + 1]!.text}` : '');

function draw(): void {
  if (!form.reportValidity()) return;
  const [n, chosenSeed] = [count.valueAsNumber, seed.valueAsNumber];
  const labels = labelsInTurn('the student', site.classes, label?.value ? [Number(label.value)] : [], n);
  let place = '';
  say('Drawing …');
  save.disabled = true;
  order({ kind: 'sample', device: chosen(), seed: chosenSeed, n, labels: labels && [...labels] }, (news) => {
    if (news.kind === 'device') place = where(news);
    if (news.kind === 'failed') say(`Not drawn: ${news.message}.`);
    if (news.kind === 'images') {
      const name = (i: number): string => `sample ${i + 1}, seed ${chosenSeed}${classOf(i, labels)}`;
      showSamples(grid, { first: news.first, images: news.images, shape, name });
    }
    if (news.kind !== 'sampled') return;
    while (grid.children.length > n) grid.lastElementChild!.remove();
    save.disabled = false;
    const each = (1000 * news.seconds) / n;
    say(
      `${n} image${n === 1 ? '' : 's'}, ${each < 10 ? each.toPrecision(2) : each.toFixed(0)} ms per image on ${place}${news.fresh ? '; the first run, which starts the runtime' : ''}.`,
    );
  });
}

async function savePng(): Promise<void> {
  const pictures = [...grid.children] as HTMLCanvasElement[];
  const columns = Math.max(1, getComputedStyle(grid).gridTemplateColumns.split(' ').length);
  const link = document.createElement('a');
  link.href = URL.createObjectURL(await sheetOf(pictures, columns));
  link.download = `samples-seed-${seed.value}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  draw();
});
at('another').addEventListener('click', () => {
  seed.value = String(((seed.valueAsNumber || 0) + 1) % 2 ** 31);
  draw();
});
save.addEventListener('click', () => void savePng().catch((error: Error) => say(`Not saved: ${error.message}.`)));
for (const field of [label, device]) field?.addEventListener('change', draw);
if (site.training) trainingPart({ shape, order, device: chosen, where });
form.removeAttribute('inert');
draw();
