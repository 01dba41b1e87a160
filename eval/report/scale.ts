/** @file Axes of charts: where values go, which ticks they get and how these are written. */

export interface Scale {
  /** From a value to 0 … 1 along the axis. */
  readonly position: (value: number) => number;
  readonly ticks: readonly { readonly value: number; readonly label: string }[];
}

/** About `count` round steps (1, 2 or 5 times a power of ten) that lie within min … max. */
export function linearTicks(min: number, max: number, count: number): readonly number[] {
  const step = niceStep((max - min) / count);
  const first = Math.ceil(min / step - 1e-9);
  const last = Math.floor(max / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => clean((first + i) * step));
}

function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 5].find((digit) => digit * power >= rough * (1 - 1e-9)) ?? 10);
}

/** Without the last digits of rounding: 0.30000000000000004 is 0.3. */
const clean = (value: number) => Number(value.toPrecision(12));

/** An axis from min to max; `rounded` widens it to whole ticks, and down to zero where zero is near. */
export function linearScale(min: number, max: number, count: number, rounded: boolean): Scale {
  let [low, high] = apart(min, max);
  if (rounded) {
    if (low > 0 && low < high / 3) low = 0;
    const step = niceStep((high - low) / count);
    low = clean(Math.floor(low / step + 1e-9) * step);
    high = clean(Math.ceil(high / step - 1e-9) * step);
  }
  const ticks = linearTicks(low, high, count);
  const unit = unitOf(Math.max(...ticks.map(Math.abs)));
  return { position: (value) => (value - low) / (high - low), ticks: ticks.map((value) => ({ value, label: inUnit(value, unit) })) };
}

/** A single value, or several that six digits hardly tell apart, get room on both sides. */
function apart(min: number, max: number): [number, number] {
  const size = Math.max(Math.abs(min), Math.abs(max));
  if (max - min > 1e-4 * size && size > 1e-300) return [min, max];
  const room = size > 1e-300 ? size / 2 : 1;
  return [min - room, max + room];
}

/** A logarithmic axis for positive values, widened to 1, 2 or 5 times a power of ten. */
export function logScale(min: number, max: number): Scale {
  let [low, high] = [roundLog(min, Math.floor), roundLog(max, Math.ceil)];
  if (!(high > low)) [low, high] = [low / 10, high * 10];
  const [from, to] = [Math.log10(low), Math.log10(high)];
  const ticks = logTicks(low, high).map((value) => ({ value, label: inUnit(value, unitOf(value)) }));
  return { position: (value) => (Math.log10(value) - from) / (to - from), ticks };
}

/** The next of 1, 2, 5, 10 … below (floor) or above (ceil), in powers of ten. */
function roundLog(value: number, direction: (x: number) => number): number {
  const power = Math.floor(Math.log10(value) + 1e-12);
  const digit = value / 10 ** power;
  const choices = direction === Math.floor ? [5, 2, 1] : [1, 2, 5, 10];
  const fits = direction === Math.floor ? (one: number) => one <= digit * (1 + 1e-9) : (one: number) => one >= digit * (1 - 1e-9);
  return clean((choices.find(fits) ?? 1) * 10 ** power);
}

function logTicks(low: number, high: number): readonly number[] {
  const decades = Math.log10(high / low);
  const ticks = ticksOf(low, high, decades > 3 ? [1] : [1, 2, 5], Math.max(1, Math.ceil(decades / 8)));
  return ticks.length < 3 ? ticksOf(low, high, [1, 2, 3, 4, 5, 6, 7, 8, 9], 1) : ticks;
}

function ticksOf(low: number, high: number, digits: readonly number[], every: number): readonly number[] {
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high) + 1e-9; power++) {
    if (power % every !== 0) continue;
    ticks.push(
      ...digits.map((digit) => clean(digit * 10 ** power)).filter((value) => value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9)),
    );
  }
  return ticks;
}

interface Unit {
  readonly size: number;
  readonly suffix: string;
}

const units: readonly Unit[] = [
  { size: 1e9, suffix: 'G' },
  { size: 1e6, suffix: 'M' },
  { size: 1e3, suffix: 'k' },
];

/** One unit for a whole axis: 5k beside 10k, not 5000 beside 10k. */
function unitOf(largest: number): Unit {
  return units.find(({ size }) => largest >= size * (size === 1e3 ? 10 : 1)) ?? { size: 1, suffix: '' };
}

function inUnit(value: number, { size, suffix }: Unit): string {
  return value === 0 ? '0' : `${formatNumber(value / size)}${suffix}`;
}

/** Up to six digits, with a real minus sign: −0.25, 1e−5. */
export function formatNumber(value: number): string {
  const size = Math.abs(value);
  return shortExponent(size !== 0 && (size < 1e-3 || size >= 1e9) ? value.toExponential(5) : `${Number(value.toPrecision(6))}`);
}

/** 1.500e+9 is 1.5e9. */
export const shortExponent = (text: string): string =>
  text
    .replace(/\.?0+e/, 'e')
    .replace('e+', 'e')
    .replaceAll('-', '−');
