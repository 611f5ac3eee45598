/** Time ranges as the page and the server understand them. */

/** `from` and `to` are `now`, `now-<n><s|m|h|d|w>` or epoch milliseconds in decimal. */
export interface TimeRange {
  readonly from: string;
  readonly to: string;
}

export const PRESETS: readonly { label: string; short: string; from: string }[] = [
  { label: 'Last 5 minutes', short: '5m', from: 'now-5m' },
  { label: 'Last 15 minutes', short: '15m', from: 'now-15m' },
  { label: 'Last hour', short: '1h', from: 'now-1h' },
  { label: 'Last 6 hours', short: '6h', from: 'now-6h' },
  { label: 'Last 24 hours', short: '24h', from: 'now-24h' },
  { label: 'Last 7 days', short: '7d', from: 'now-7d' },
];

export const DEFAULT_RANGE: TimeRange = { from: 'now-1h', to: 'now' };

const RELATIVE = /^now(?:-(\d{1,6})([smhdw]))?$/;
const ABSOLUTE = /^\d{1,15}$/;
const UNIT_MS: Record<string, number> = { s: 1e3, m: 60e3, h: 3600e3, d: 86_400e3, w: 604_800e3 };
const UNIT_NAMES: Record<string, string> = { s: 'second', m: 'minute', h: 'hour', d: 'day', w: 'week' };

/** Whether text is a time that `toEpochMs` understands. */
export function isTime(text: string): boolean {
  return RELATIVE.test(text) || ABSOLUTE.test(text);
}

/** A time in epoch milliseconds; `now` is passed in. */
export function toEpochMs(text: string, now: number): number {
  const relative = RELATIVE.exec(text);
  if (relative === null) return Number(text);
  return relative[1] === undefined ? now : now - Number(relative[1]) * UNIT_MS[relative[2]];
}

/** What the range picker shows. */
export function describeRange(range: TimeRange): string {
  const preset = PRESETS.find((p) => p.from === range.from && range.to === 'now');
  if (preset !== undefined) return preset.label;
  const ago = RELATIVE.exec(range.from);
  if (range.to === 'now' && ago?.[1] !== undefined) {
    return `Last ${ago[1]} ${UNIT_NAMES[ago[2]]}${Number(ago[1]) === 1 ? '' : 's'}`;
  }
  return `${describeTime(range.from)} – ${describeTime(range.to)}`;
}

/** The narrowest preset that reaches further back, or null if none does. */
export function widerRange(range: TimeRange, now: number): TimeRange | null {
  const begin = toEpochMs(range.from, now);
  const wider = PRESETS.find((preset) => toEpochMs(preset.from, now) < begin);
  return wider === undefined ? null : { from: wider.from, to: 'now' };
}

/** Epoch milliseconds as the value of a `datetime-local` input, in local time. */
export function toInputValue(ms: number): string {
  const local = new Date(ms - new Date(ms).getTimezoneOffset() * 60e3);
  return local.toISOString().slice(0, 19);
}

function describeTime(text: string): string {
  if (RELATIVE.test(text)) return text;
  const date = new Date(Number(text));
  const options: Intl.DateTimeFormatOptions = { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit' };
  return date.toLocaleString(undefined, { ...options, second: '2-digit', hourCycle: 'h23' });
}
