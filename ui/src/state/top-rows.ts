/** The table's rows: filtered by the search, sorted by a column. */
import type { FunctionRow } from '../api/client.ts';
import type { CompiledQuery } from '../flame-core/index.ts';
import type { SortColumn } from './url.ts';

/** Rows to show, in order. Equal values are ordered by name. An unusable search filters nothing. */
export function arrangeRows(
  rows: readonly FunctionRow[],
  search: CompiledQuery,
  sort: SortColumn,
  ascending: boolean,
): FunctionRow[] {
  const usable = search !== null && 'query' in search ? search.query : null;
  const kept = usable === null ? [...rows] : rows.filter((row) => usable.matches(row.name));
  const direction = ascending ? 1 : -1;
  return kept.sort((a, b) => {
    const byName = a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
    if (sort === 'name') return byName * direction;
    return (a[sort] - b[sort]) * direction || byName;
  });
}

/** The slice of rows that a viewport of the given height shows, with some to spare on both sides. */
export function visibleSlice(
  scrollTop: number,
  height: number,
  rowHeight: number,
  count: number,
): { first: number; last: number } {
  const spare = 8;
  const first = Math.max(0, Math.floor(scrollTop / rowHeight) - spare);
  const last = Math.min(count, Math.ceil((scrollTop + height) / rowHeight) + spare);
  return { first: Math.min(first, last), last };
}
