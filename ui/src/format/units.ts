/** Values and shares as text, by unit. */

interface Step {
  size: number;
  suffix: string;
}

const DURATION: Step[] = [
  { size: 86_400e9, suffix: 'd' },
  { size: 3_600e9, suffix: 'h' },
  { size: 60e9, suffix: 'min' },
  { size: 1e9, suffix: 's' },
  { size: 1e6, suffix: 'ms' },
  { size: 1e3, suffix: 'µs' },
  { size: 1, suffix: 'ns' },
];

const BYTES: Step[] = [
  { size: 2 ** 50, suffix: 'PiB' },
  { size: 2 ** 40, suffix: 'TiB' },
  { size: 2 ** 30, suffix: 'GiB' },
  { size: 2 ** 20, suffix: 'MiB' },
  { size: 2 ** 10, suffix: 'KiB' },
  { size: 1, suffix: 'B' },
];

const COUNT: Step[] = [
  { size: 1e12, suffix: 'T' },
  { size: 1e9, suffix: 'G' },
  { size: 1e6, suffix: 'M' },
  { size: 1e3, suffix: 'k' },
  { size: 1, suffix: '' },
];

const NANOSECONDS_PER: Record<string, number> = {
  nanoseconds: 1,
  microseconds: 1e3,
  milliseconds: 1e6,
  seconds: 1e9,
};

const DURATION_TICKS = [
  ...[1, 1e3, 1e6].flatMap((size) => [1, 2, 5, 10, 20, 50, 100, 200, 500].map((step) => step * size)),
  ...[1, 2, 5, 10, 15, 30].map((seconds) => seconds * 1e9),
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * 60e9),
  ...[1, 2, 3, 6, 12].map((hours) => hours * 3_600e9),
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].map((days) => days * 86_400e9),
];

/** Formats a value of a profile type's sample unit, three significant digits. */
export function formatValue(value: number, unit: string): string {
  const perNanosecond = NANOSECONDS_PER[unit];
  if (perNanosecond !== undefined) return scaled(value * perNanosecond, DURATION);
  if (unit === 'bytes') return scaled(value, BYTES);
  return scaled(value, COUNT);
}

/** Distances between axis ticks that give round labels in a unit, ascending. */
export function tickSteps(unit: string): number[] {
  const perNanosecond = NANOSECONDS_PER[unit];
  if (perNanosecond !== undefined) return DURATION_TICKS.map((step) => step / perNanosecond);
  const base = unit === 'bytes' ? [1, 2, 4, 8, 16, 32, 64, 128, 256, 512] : [1, 2, 5, 10, 20, 50, 100, 200, 500];
  const next = unit === 'bytes' ? 1024 : 1000;
  return [0, 1, 2, 3, 4].flatMap((power) => base.map((step) => step * next ** power));
}

/** A share (0 to 1) as a percentage with one decimal; tiny ones keep their first digits. */
export function formatShare(share: number): string {
  const percent = share * 100;
  if (percent === 0) return '0 %';
  if (percent < 0.01) return '< 0.01 %';
  return `${percent < 1 ? trim(percent.toFixed(2)) : percent.toFixed(1)} %`;
}

/** A whole number with thin spaces between groups of three digits. */
export function formatCount(count: number): string {
  return Math.round(count)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, '\u202f');
}

function scaled(value: number, steps: Step[]): string {
  const magnitude = Math.abs(value);
  const smallest = steps[steps.length - 1];
  let at = steps.findIndex((step) => magnitude >= step.size);
  if (at < 0) at = steps.length - 1;
  const roundsUp = at > 0 && Number(significant(magnitude / steps[at].size)) * steps[at].size >= steps[at - 1].size;
  const step = steps[roundsUp ? at - 1 : at];
  const number = step === smallest ? trim(value.toFixed(2)) : significant(value / step.size);
  return step.suffix === '' ? number : `${number} ${step.suffix}`;
}

function significant(value: number): string {
  const magnitude = Math.abs(value);
  const decimals = magnitude >= 100 ? 0 : magnitude >= 10 ? 1 : 2;
  return trim(value.toFixed(decimals));
}

function trim(decimal: string): string {
  return decimal.includes('.') ? decimal.replace(/\.?0+$/, '') : decimal;
}
