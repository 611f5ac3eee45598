/** Functions by self and total value. Shares search and selection with the flame graph. */
import { computed, useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type { FunctionRow } from '../api/client.ts';
import { nameTail } from '../flame-core/index.ts';
import { formatCount, formatShare, formatValue } from '../format/units.ts';
import { compiledSearch, field, state, topState, unit, update } from '../state/store.ts';
import { arrangeRows, visibleSlice } from '../state/top-rows.ts';
import type { SortColumn } from '../state/url.ts';
import { chart } from './graph.tsx';
import { ErrorNote } from './notes.tsx';

const ROW_HEIGHT = 26;
export const TABLE_ID = 'top-table';

const sort = field('sort');
const ascending = field('ascending');
const rows = computed(() =>
  arrangeRows(topState.value.value?.functions ?? [], compiledSearch.value, sort.value, ascending.value),
);

export function TopTable(): JSX.Element {
  const { error, loading, value } = topState.value;
  return (
    <section class="panel table-panel" aria-label="Functions">
      {error !== null ? (
        <ErrorNote error={error} />
      ) : (
        <Grid stale={loading} total={value?.total ?? 0} />
      )}
      {value !== null && (
        <footer class="status">
          <span class="number">
            {formatCount(rows.value.length)} <span class="muted">functions</span>
          </span>
        </footer>
      )}
    </section>
  );
}

function Grid({ stale, total }: { stale: boolean; total: number }): JSX.Element {
  const scroller = useRef<HTMLDivElement>(null);
  const scrollTop = useSignal(0);
  const height = useSignal(600);
  const selected = state.value.selected;
  const shown = rows.value;
  const selectedRow = selected === '' ? -1 : shown.findIndex((row) => row.name === selected);
  const { first, last } = visibleSlice(scrollTop.value, height.value, ROW_HEIGHT, shown.length);

  useEffect(() => {
    const element = scroller.current!;
    const observer = new ResizeObserver(() => (height.value = element.clientHeight));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    if (selectedRow >= 0 && scroller.current !== null) reveal(scroller.current, selectedRow);
  }, [selected, selectedRow]);

  const rowInView = selectedRow >= first && selectedRow < last;
  return (
    <div
      class={`grid ${stale ? 'stale' : ''}`}
      id={TABLE_ID}
      role="grid"
      tabIndex={0}
      aria-label="Functions by self and total"
      aria-rowcount={shown.length + 1}
      aria-activedescendant={rowInView ? `${TABLE_ID}-${selectedRow}` : undefined}
      onKeyDown={(event) => onGridKey(event, shown, selectedRow)}
    >
      <div class="grid-row grid-head" role="row" aria-rowindex={1}>
        <HeadCell column="name" label="Function" />
        <HeadCell column="self" label="Self" />
        <HeadCell column="total" label="Total" />
      </div>
      <div
        class="grid-scroller"
        role="rowgroup"
        ref={scroller}
        onScroll={(event) => (scrollTop.value = event.currentTarget.scrollTop)}
      >
        <div class="grid-space" role="presentation" style={{ height: `${shown.length * ROW_HEIGHT}px` }}>
          {shown.slice(first, last).map((row, i) => (
            <Row key={row.name} row={row} index={first + i} total={total} selected={row.name === selected} />
          ))}
        </div>
      </div>
      {shown.length === 0 && !stale && <p class="note muted">No function matches the search.</p>}
    </div>
  );
}

function HeadCell({ column, label }: { column: SortColumn; label: string }): JSX.Element {
  const active = sort.value === column;
  const direction = ascending.value ? 'ascending' : 'descending';
  const toggle = () => update({ sort: column, ascending: active ? !ascending.peek() : column === 'name' });
  return (
    <div class={`cell cell-${column}`} role="columnheader" aria-sort={active ? direction : 'none'}>
      <button type="button" onClick={toggle}>
        <span class="sort-mark" aria-hidden="true">
          {active ? (ascending.value ? '↑' : '↓') : ''}
        </span>
        {label}
      </button>
    </div>
  );
}

interface RowProps {
  row: FunctionRow;
  index: number;
  total: number;
  selected: boolean;
}

function Row({ row, index, total, selected }: RowProps): JSX.Element {
  const tail = nameTail(row.name);
  return (
    <div
      class={selected ? 'grid-row selected' : 'grid-row'}
      id={`${TABLE_ID}-${index}`}
      role="row"
      aria-rowindex={index + 2}
      aria-selected={selected}
      style={{ transform: `translateY(${index * ROW_HEIGHT}px)` }}
      onClick={() => update({ selected: selected ? '' : row.name }, 'replace')}
      onDblClick={() => goToFunction(row.name)}
    >
      <div class="cell cell-name mono" role="gridcell" title={row.name}>
        <span class="qualifier">{row.name.slice(0, row.name.length - tail.length)}</span>
        <span class="name-tail">{tail}</span>
      </div>
      <ValueCell column="self" value={row.self} total={total} />
      <ValueCell column="total" value={row.total} total={total} />
    </div>
  );
}

function ValueCell({ column, value, total }: { column: 'self' | 'total'; value: number; total: number }): JSX.Element {
  const share = total === 0 ? 0 : value / total;
  return (
    <div class={`cell cell-${column}`} role="gridcell">
      <span class="cell-bar" aria-hidden="true" style={{ transform: `scaleX(${share})` }} />
      <span class="number">{formatValue(value, unit.value)}</span>
      <span class="number share muted">{formatShare(share)}</span>
    </div>
  );
}

function onGridKey(event: KeyboardEvent, shown: readonly FunctionRow[], selectedRow: number): void {
  if (event.target !== event.currentTarget || event.ctrlKey || event.metaKey || event.altKey) return;
  const move = (row: number) => {
    const target = shown[Math.min(shown.length - 1, Math.max(0, row))];
    if (target !== undefined) update({ selected: target.name }, 'replace');
  };
  switch (event.key) {
    case 'ArrowDown':
      move(selectedRow + 1);
      break;
    case 'ArrowUp':
      move(selectedRow - 1);
      break;
    case 'PageDown':
      move(selectedRow + 15);
      break;
    case 'PageUp':
      move(selectedRow - 15);
      break;
    case 'Home':
      move(0);
      break;
    case 'End':
      move(shown.length - 1);
      break;
    case 'Enter':
      if (selectedRow >= 0) goToFunction(shown[selectedRow].name);
      break;
    case 'Escape':
      update({ selected: '' }, 'replace');
      break;
    default:
      return;
  }
  event.preventDefault();
}

/** Focuses the heaviest bar of a function in the graph. */
function goToFunction(name: string): void {
  update({ selected: name }, 'replace');
  chart.peek()?.goToFunction(name);
}

function reveal(scroller: HTMLElement, row: number): void {
  const top = row * ROW_HEIGHT;
  if (top < scroller.scrollTop) scroller.scrollTop = top;
  else if (top + ROW_HEIGHT > scroller.scrollTop + scroller.clientHeight) {
    scroller.scrollTop = top + ROW_HEIGHT - scroller.clientHeight;
  }
}
