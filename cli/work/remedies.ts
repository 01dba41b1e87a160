/** @file What helps when training goes wrong: the likeliest remedies for what a method is made of, among the options that it really has. */
import { kebab } from '../flags.ts';
import type { Plan } from './plan.ts';

/** An option, its value in this run, and one to try. */
export interface Remedy {
  readonly option: string;
  readonly now: string;
  readonly better: string;
}
type Rule = (plan: Plan, values: number) => Remedy | null;

const MOST = 3;
const shown = (v: number): string => String(Number(v.toPrecision(2)));

/** A number of the method's own options, changed; none where it lacks the option or where nothing would change. */
const option =
  (name: string, change: (now: number, plan: Plan, values: number) => number): Rule =>
  (plan, values) => {
    const now = plan.options[name];
    if (typeof now !== 'number') return null;
    const better = change(now, plan, values);
    return shown(better) === shown(now) ? null : { option: name, now: shown(now), better: shown(better) };
  };

/** A player's own factor of the learning rate, changed beside those of the others. */
const rateOf =
  (player: string, change: (now: number) => number): Rule =>
  ({ run, optimizers }) => {
    if (!(player in optimizers)) return null;
    const scales = Object.fromEntries(run.lrScale.map((word) => word.split('=') as [string, string]));
    const now = Number(scales[player] ?? 1);
    const better = { ...scales, [player]: shown(change(now)) };
    const words = (all: Readonly<Record<string, string>>): string =>
      Object.entries(all)
        .map(([name, factor]) => `${name}=${factor}`)
        .join(',');
    return change(now) === now ? null : { option: 'lrScale', now: words(scales) || 'none', better: words(better) };
  };

const heads = ({ loss }: Plan): readonly string[] => (loss.heads ?? []).filter((name) => !loss.levelHeads?.includes(name));
/** A discriminator has a say, by a head of its own or by the fake network's maps. */
const adversarial = (plan: Plan): boolean =>
  plan.options['ganWeight'] !== 0 && (heads(plan).length > 0 || typeof plan.options['ganWeight'] === 'number');
const fakeScore = ({ loss }: Plan): boolean => 'fake' in loss.players;
/** Made of a curriculum, an average as target, or a distance between neighbours. */
const consistency = (plan: Plan): boolean => ['stages', 'decay', 'huber'].some((name) => typeof plan.options[name] === 'number');

const lowerRate: Rule = ({ run }) => (run.lr > 0 ? { option: 'lr', now: shown(run.lr), better: shown(run.lr / 3) } : null);
const clip: Rule = ({ run }) => ({ option: 'clip', now: shown(run.clip), better: shown(run.clip > 0 ? run.clip / 3 : 1) });
/** Of a constant average only: the others grow with the run. */
const average: Rule = ({ run: { averages } }) => {
  const [kind, beta] = (averages[0] ?? '').split(':');
  return kind === 'constant' && Number(beta) < 0.9999
    ? { option: 'averages', now: averages.join(','), better: `constant:${Number((1 - (1 - Number(beta)) / 10).toPrecision(6))}` }
    : null;
};

/** By family, the likeliest first. A method may belong to several. */
const FAMILIES: readonly { readonly of: (plan: Plan) => boolean; readonly rules: readonly Rule[] }[] = [
  { of: adversarial, rules: [option('ganWeight', (now) => now / 3)] },
  {
    of: fakeScore,
    rules: [option('ratio', (now) => Math.min(100, 2 * now)), rateOf('fake', (now) => Math.max(now, 3))],
  },
  {
    of: adversarial,
    rules: [rateOf('discriminator', (now) => now / 2), option('r1', (now) => 10 * now)],
  },
  {
    of: consistency,
    rules: [
      lowerRate,
      // Pairs of neighbours on a fixed grid have no stages.
      option('stages', (now, { options }) => (options['pairing'] === 'grid' ? now : 2 * now)),
      // Song and Dhariwal 2023: 0.00054 times the root of the values in a sample.
      option('huber', (now, _, values) => (now > 0 ? 10 * now : 5.4e-4 * Math.sqrt(values))),
      option('decay', (now) => Math.min(0.9999, 1 - (1 - now) / 3)),
    ],
  },
  { of: () => true, rules: [lowerRate, clip, average] },
];

/** @param values how many numbers a sample has */
export function remediesFor(plan: Plan, values: number): readonly Remedy[] {
  const all = FAMILIES.flatMap(({ of, rules }) => (of(plan) ? rules.flatMap((rule) => rule(plan, values) ?? []) : []));
  return all
    .filter((remedy, i) => all.findIndex(({ option: name, better }) => name === remedy.option && better === remedy.better) === i)
    .slice(0, MOST);
}

/** As flags of the command line. */
export const asFlags = (remedies: readonly Remedy[]): string =>
  remedies.map(({ option: name, now, better }) => `--${kebab(name)} ${better} (now ${now})`).join('; ');
