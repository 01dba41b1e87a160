/** @file Lists of levels out of the table of a discrete process: linear, scaled linear, improved DDPM's and sigmoid β. */
import { choice, flag, OptionError, options, real, type Values, whole } from '../engine/train/options.ts';
import { defineSchedule, type LevelRange } from '../engine/train/schedule.ts';
import { alphasCumprod, type BetaSchedule, betas, levelsOf, type Spacing, spaced, zeroTerminal } from './betas.ts';

const spacings = ['linspace', 'leading', 'trailing'] as const satisfies readonly Spacing[];
const tableOptions = options({
  spacing: choice(spacings, 'linspace', 'How the steps are spaced over the table: with both ends, from its beginning or from its end'),
  offset: whole(0, 'What is added to the indices of leading steps', { min: 0, max: 1000 }),
  zeroTerminal: flag(false, 'Whether the table is changed so that it ends at pure noise'),
  betaStart: real(0, "First β; 0 for the schedule's own", { min: 0, max: 0.999 }),
  betaEnd: real(0, "Last β; 0 for the schedule's own", { min: 0, max: 0.999 }),
});

interface Table {
  readonly beta: BetaSchedule;
  readonly start: number;
  readonly end: number;
}
/** The levels of a table that a network knows, rising. */
function tableWithin({ beta, start, end }: Table, { sigmaMin, sigmaMax }: LevelRange, o: Values<typeof tableOptions>): readonly number[] {
  const alphaBar = alphasCumprod(betas(beta, { start: o.betaStart || start, end: o.betaEnd || end }));
  return levelsOf(o.zeroTerminal ? zeroTerminal(alphaBar) : alphaBar).filter((level) => level >= sigmaMin && level <= sigmaMax);
}

const tabled = (name: string, title: string, reference: string, table: Table) =>
  defineSchedule({
    name,
    title,
    reference,
    options: tableOptions,
    levels(n, range, values) {
      const known = tableWithin(table, range, values);
      if (n > known.length)
        throw new OptionError(
          `${name}: ${n} steps are more than the ${known.length} levels of its table between ${range.sigmaMin} and ${range.sigmaMax}`,
        );
      const top = known.length - 1;
      if (n === 1) return [known[top]!];
      const indices = spaced(values.spacing, n, known.length, values.offset);
      if (indices[0]! > top)
        throw new OptionError(
          `${name}.offset: ${values.offset} leads beyond the table, whose ${known.length} levels have steps up to ${indices[0]! - values.offset}`,
        );
      return indices.map((index) => known[index]!);
    },
  });

export const linear = tabled('linear', "Steps of DDPM's 1,000 levels, whose β is linear.", '2006.11239', {
  beta: 'linear',
  start: 0.0001,
  end: 0.02,
});
export const scaledLinear = tabled('scaled-linear', "Steps of latent diffusion's 1,000 levels, whose √β is linear.", '2112.10752', {
  beta: 'scaled_linear',
  start: 0.00085,
  end: 0.012,
});
export const iddpm = tabled('iddpm', "Steps of improved DDPM's 1,000 levels, a cosine.", '2102.09672', {
  beta: 'squaredcos_cap_v2',
  start: 0,
  end: 0,
});
export const sigmoid = tabled('sigmoid', "Steps of GeoDiff's 1,000 levels, whose β is a sigmoid.", '2203.02923', {
  beta: 'sigmoid',
  start: 0.0001,
  end: 0.02,
});
