/** A timeline's buckets as the chart takes them. */
import type { Timeline } from '../api/client.ts';

/** Two columns, one row per bucket with data: end of the bucket in epoch seconds, and its sum. */
export function columns(data: Timeline): [number[], number[]] {
  const sums = new Map<number, number>();
  for (const series of data.series) {
    for (const [time, value] of series.points) sums.set(time, (sums.get(time) ?? 0) + value);
  }
  const times = [...sums.keys()].sort((a, b) => a - b);
  return [times.map((time) => time / 1000), times.map((time) => sums.get(time)!)];
}

/** Says where buckets are empty, as the chart takes the smallest distance between two buckets for their width. */
export function withGaps([times, values]: [number[], number[]], step: number): [number[], (number | null)[]] {
  const out: [number[], (number | null)[]] = [[], []];
  times.forEach((time, i) => {
    out[0].push(time);
    out[1].push(values[i]);
    if (!(times[i + 1] - time <= step)) {
      out[0].push(time + step);
      out[1].push(null);
    }
  });
  return out;
}
