/** @file Every method on two mixtures in the plane: outcomes are kept in docs/results/toys.json, and their table in docs/results/toys.md. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { method, methodNames } from '../cli/work/methods.ts';
import { writeAtomic } from '../engine/io/atomic.ts';
import { median } from './measure.ts';
import { type Outcome, type Target, targets, toyOutcome } from './work/toys.ts';

const path = (name: string): string => fileURLToPath(new URL(`../docs/results/${name}`, import.meta.url));
const names = Object.keys(targets) as Target[];

/** Those that were measured before; none at first. */
async function kept(): Promise<Outcome[]> {
  try {
    return JSON.parse(await readFile(path('toys.json'), 'utf8')) as Outcome[];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
const keyOf = ({ method, target, seed }: Pick<Outcome, 'method' | 'target' | 'seed'>): string =>
  `${method} ${target} ${String(seed).padStart(3, '0')}`;

const percent = (share: number): string => (100 * share).toFixed(1);
/** Cells of one method on one mixture: the worst number of modes, and medians over seeds. */
function cells(outcomes: readonly Outcome[]): readonly string[] {
  if (outcomes.length === 0) return ['–', '–', '–', '–'];
  const middle = (of: (o: Outcome) => number): number => median(outcomes.map(of));
  const least = Math.min(...outcomes.map(({ modes }) => modes));
  const all = outcomes.map(({ distance }) => distance.toFixed(3)).join(', ');
  return [`${least}`, percent(middle(({ shares }) => shares)), percent(middle(({ stray }) => stray)), all];
}

/** The table in Markdown, the best distance on the ring first. */
export function toyTable(outcomes: readonly Outcome[]): string {
  const own = (name: string, target: Target): Outcome[] => outcomes.filter((o) => o.method === name && o.target === target);
  const rank = (name: string): number => {
    const distances = own(name, 'ring').map(({ distance }) => distance);
    return distances.length > 0 ? median(distances) : Number.MAX_VALUE;
  };
  const methods = [...new Set(outcomes.map((o) => o.method))].sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
  const floor = (target: Target): string => {
    const floors = outcomes.filter((o) => o.target === target).map((o) => o.floor);
    return floors.length > 0 ? median(floors).toFixed(3) : '–';
  };
  const titles = names.flatMap((name) => [`${name}: modes`, 'shares off, %', 'stray, %', `distance of each seed (floor ${floor(name)})`]);
  const row = (entries: readonly string[]): string => `| ${entries.join(' | ')} |`;
  const rows = methods.map((name) => row([`\`${name}\``, ...names.flatMap((target) => cells(own(name, target)))]));
  return [row(['method', ...titles]), `|${'---|'.repeat(titles.length + 1)}`, ...rows].join('\n');
}

const INTRODUCTION = `# Methods in the plane

Made by \`npm run bench -- toys\` out of [toys.json](toys.json). A ring and a checkerboard of eight modes each; the teacher is their exact denoiser; student, fake score
and heads are perceptrons of three layers. Modes are those found, of eight, in the worst seed: at least half of the share of samples that is theirs. Shares are the samples
that are with a wrong mode, stray ones more than five standard deviations away from every mode (medians over seeds). The distance is the Wasserstein-1 of 10,000 samples
of one step to as many true ones; the floor is that between two sets of true ones. Settings are the methods' own defaults, but for DMD2, which has those of
\`losses/testing/planes.ts\`; nothing else was tuned.
`;

/** Measures what is missing, one outcome after the other. Each is kept at once. */
export async function* toyRecords(seeds: readonly number[], only?: string): AsyncGenerator<Outcome> {
  const wanted = only === undefined ? await methodNames() : [only];
  for (const seed of seeds)
    for (const name of wanted)
      for (const target of names) {
        if ((await kept()).some((o) => keyOf(o) === keyOf({ method: name, target, seed }))) continue;
        const outcome = await toyOutcome(await method(name), target, seed);
        const all = [...(await kept()), outcome].sort((a, b) => keyOf(a).localeCompare(keyOf(b)));
        await writeAtomic(path('toys.json'), `[\n${all.map((o) => JSON.stringify(o)).join(',\n')}\n]\n`);
        await writeAtomic(path('toys.md'), `${INTRODUCTION}\n${toyTable(all)}\n`);
        yield outcome;
      }
}
