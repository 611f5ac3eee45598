/** Searches in a range of a sorted column. No closures: these run for every pixel of every frame. */

/** A column with ascending values in the range that is searched. */
export type SortedColumn = Float64Array | Uint32Array;

/** First index of `[low, high)` whose value is `value` or more; `high` if there is none. */
export function firstAtLeast(column: SortedColumn, low: number, high: number, value: number): number {
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (column[middle] >= value) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** First index of `[low, high)` whose value is more than `value`; `high` if there is none. */
export function firstAbove(column: SortedColumn, low: number, high: number, value: number): number {
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (column[middle] > value) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** As `firstAtLeast`, for an answer that is usually close to `low`: steps of doubling size, then a binary search. */
export function nearAtLeast(column: SortedColumn, low: number, high: number, value: number): number {
  let step = 1;
  while (low + step < high && column[low + step] < value) {
    low += step;
    step *= 2;
  }
  return firstAtLeast(column, low, Math.min(high, low + step), value);
}
