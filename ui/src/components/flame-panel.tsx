/** The flame graph with its tooltip, menu, breadcrumb and status line. */
import { signal, useSignalEffect } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import {
  FlameChart,
  isFolded,
  nameOf,
  NONE,
  pathKey,
  totalOf,
  type ChartEvents,
  type ChartView,
  type Flame,
} from '../flame-core/index.ts';
import { formatCount, formatShare, formatValue } from '../format/units.ts';
import {
  currentFlame,
  field,
  flameState,
  flameSummary,
  searchSet,
  searchWeight,
  selectedSet,
  selectedWeight,
  state,
  totalsByName,
  unit,
  update,
  zoomNode,
} from '../state/store.ts';
import { palette } from '../state/theme.ts';
import { NODE_CHOICES, type Span } from '../state/url.ts';
import { CloseIcon } from './icons.tsx';
import { copyText, ErrorNote } from './notes.tsx';
import { markTime } from '../state/timing.ts';

/** The chart on the page; null while it is not shown. */
export const chart = signal<FlameChart | null>(null);

interface NodeAt {
  node: number;
  x: number;
  y: number;
}

const hover = signal<NodeAt | null>(null);
const menu = signal<NodeAt | null>(null);

const orientation = field('orientation');
const colourBy = field('colourBy');
const span = field('span');

export function FlamePanel(): JSX.Element {
  const { error, loading, received, value } = flameState.value;
  return (
    <section class={`panel flame-panel root-${orientation.value === 'icicle' ? 'above' : 'below'}`} aria-label="Flame graph">
      {loading && <Progress received={received} />}
      <div class="flame-body">
        <ChartHost stale={loading && value !== null} hidden={error !== null || value === null} />
        {error !== null && <ErrorNote error={error} />}
      </div>
      <Breadcrumb />
      <StatusLine />
      <Tooltip />
      <Menu />
    </section>
  );
}

function Progress({ received }: { received: number }): JSX.Element {
  return (
    <div class="progress" role="status">
      <span class="progress-text">Loading{received > 0 ? ` · ${formatValue(received, 'bytes')}` : ''}…</span>
    </div>
  );
}

const EVENTS: ChartEvents = {
  hover: (node, x, y) => (hover.value = node === NONE ? null : { node, x, y }),
  focus: (node) => {
    const tree = currentFlame.peek();
    if (tree !== null) update({ selected: node === 0 ? '' : nameOf(tree, node) }, 'replace');
  },
  view: (view) => {
    const tree = currentFlame.peek();
    if (tree !== null) rememberView(tree, view);
  },
  menu: (node, x, y) => (menu.value = { node, x, y }),
};

/** Puts what the chart shows into the URL: zooming to a node is a step back can undo, moving is not. */
function rememberView(tree: Flame, view: ChartView): void {
  const zoom = view.node === 0 ? '' : pathKey(tree, view.node);
  update({ zoom, span: toSpan(tree, view) }, zoom === state.peek().zoom ? 'replace' : 'push');
}

function toSpan(tree: Flame, view: ChartView): Span | null {
  if (view.range === null) return null;
  const whole = totalOf(tree) || 1;
  const round = (value: number) => Math.min(1, Math.max(0, Number((value / whole).toPrecision(9))));
  const rounded = { from: round(view.range.from), to: round(view.range.to) };
  return rounded.from < rounded.to ? rounded : null;
}

function toView(tree: Flame, node: number, shares: Span | null): ChartView {
  const whole = totalOf(tree);
  return { node, range: shares === null ? null : { from: shares.from * whole, to: shares.to * whole } };
}

function ChartHost({ stale, hidden }: { stale: boolean; hidden: boolean }): JSX.Element {
  const host = useRef<HTMLDivElement>(null);

  useEffect(() => {
    const widget = new FlameChart(host.current!, EVENTS, palette.peek());
    chart.value = widget;
    return () => {
      chart.value = null;
      hover.value = null;
      menu.value = null;
      widget.destroy();
    };
  }, []);

  useSignalEffect(() => chart.value?.setPalette(palette.value));
  useSignalEffect(() => chart.value?.setColourBy(colourBy.value));
  useSignalEffect(() => chart.value?.setOrientation(orientation.value));
  useSignalEffect(() => {
    const tree = currentFlame.value;
    const widget = chart.value;
    widget?.setFlame(tree);
    widget?.setSearch(searchSet.peek());
    widget?.setSelected(selectedSet.peek());
    if (tree === null || widget === null) return;
    widget.showView(toView(tree, zoomNode.peek(), span.peek()), false);
    requestAnimationFrame(() => markTime('argand-flame-painted'));
  });
  useSignalEffect(() => {
    const tree = currentFlame.value;
    if (tree !== null) chart.value?.showView(toView(tree, zoomNode.value, span.value));
  });
  useSignalEffect(() => chart.value?.setSearch(searchSet.value));
  useSignalEffect(() => chart.value?.setSelected(selectedSet.value));

  return <div id="flame" class={`flame-host ${stale ? 'stale' : ''} ${hidden ? 'hidden' : ''}`} ref={host} />;
}

function Breadcrumb(): JSX.Element | null {
  const tree = currentFlame.value;
  const node = zoomNode.value;
  if (tree === null || (node === 0 && span.value === null)) return null;
  const what = node === 0 ? 'a part of the graph' : nameOf(tree, node);
  return (
    <div class="breadcrumb">
      <span class="muted">Zoomed to</span> <strong class="mono ellipsis">{what}</strong>
      {node !== 0 && <span class="muted number">{formatShare(tree.total[node] / totalOf(tree))}</span>}
      <button type="button" class="button small" onClick={() => chart.peek()?.resetZoom()}>
        <CloseIcon />
        Show all
      </button>
    </div>
  );
}

function StatusLine(): JSX.Element | null {
  const summary = flameSummary.value;
  if (summary === null || summary.total === 0) return null;
  const matches = searchWeight.value;
  const selected = selectedWeight.value;
  return (
    <footer class="status">
      <span>
        <span class="muted">Total</span> <strong class="number">{formatValue(summary.total, unit.value)}</strong>
      </span>
      <span class="number">
        {formatCount(summary.nodes)} <span class="muted">nodes</span>
      </span>
      <span class="number">
        {formatCount(summary.depth)} <span class="muted">levels</span>
      </span>
      <FoldedNote share={summary.folded} />
      {matches !== null && (
        <span data-testid="matches">
          <span class="muted">Matches</span> <strong class="number">{formatShare(matches.share)}</strong>
        </span>
      )}
      {selected !== null && (
        <span class="status-selected" data-testid="selected">
          <span class="swatch" aria-hidden="true" />
          <span class="mono ellipsis">{state.value.selected}</span>
          <strong class="number">{selected.nodes === 0 ? 'not in the graph' : formatShare(selected.share)}</strong>
        </span>
      )}
    </footer>
  );
}

/** Says how much the server left out, and offers to ask for more. */
function FoldedNote({ share }: { share: number }): JSX.Element | null {
  if (share === 0) return null;
  const more = NODE_CHOICES.find((choice) => choice > state.value.maxNodes);
  return (
    <span>
      <span class="number">{formatShare(share)}</span> <span class="muted">folded below the threshold</span>
      {more !== undefined && (
        <button type="button" class="link" onClick={() => update({ maxNodes: more })}>
          Show up to {formatCount(more)} nodes
        </button>
      )}
    </span>
  );
}

function Tooltip(): JSX.Element | null {
  const at = hover.value;
  const tree = currentFlame.value;
  const totals = totalsByName.value;
  if (at === null || tree === null || totals === null || at.node >= tree.nodeCount) return null;
  const { node, x, y } = at;
  const whole = totalOf(tree) || 1;
  const name = tree.nameIndex[node];
  const value = (amount: number) => (
    <>
      <td class="number">{formatValue(amount, unit.value)}</td>
      <td class="number muted">{formatShare(amount / whole)}</td>
    </>
  );
  const left = x > innerWidth / 2;
  const above = y > innerHeight * 0.7;
  const style = {
    left: `${left ? x - 12 : x + 14}px`,
    top: `${above ? y - 12 : y + 18}px`,
    transform: `translate(${left ? '-100%' : '0'}, ${above ? '-100%' : '0'})`,
  };
  return (
    <div class="tooltip" role="presentation" style={style}>
      <p class="tooltip-name mono">{nameOf(tree, node)}</p>
      <table>
        <tbody>
          <tr>
            <th>Total</th>
            {value(tree.total[node])}
          </tr>
          <tr>
            <th>Self</th>
            {value(tree.self[node])}
          </tr>
          {node !== 0 && totals.total[name] > tree.total[node] && !isFolded(tree, node) && (
            <tr>
              <th>In all stacks</th>
              {value(totals.total[name])}
            </tr>
          )}
        </tbody>
      </table>
      {isFolded(tree, node) && <p class="muted">Many small stacks, folded below the threshold.</p>}
    </div>
  );
}

interface MenuItem {
  label: string;
  run: () => void;
}

function menuItems(tree: Flame, node: number): MenuItem[] {
  const name = nameOf(tree, node);
  const widget = chart.peek();
  const own: MenuItem[] = [
    { label: 'Zoom to this bar', run: () => widget?.zoomTo(node) },
    { label: 'Select this function', run: () => update({ selected: name }, 'replace') },
    { label: 'Search this function', run: () => update({ search: name, regex: false }, 'replace') },
    { label: 'Copy name', run: () => void copyText(name) },
  ];
  const reset: MenuItem = {
    label: 'Reset view',
    run: () => {
      update({ search: '', selected: '' }, 'replace');
      widget?.resetZoom();
    },
  };
  return node === 0 ? [own[3], reset] : [...own, reset];
}

function Menu(): JSX.Element | null {
  const at = menu.value;
  const list = useRef<HTMLDivElement>(null);
  const close = () => {
    menu.value = null;
    chart.peek()?.canvas.focus({ preventScroll: true });
  };

  useLayoutEffect(() => {
    if (at === null) return;
    (list.current?.firstElementChild as HTMLElement | null)?.focus();
    const outside = (event: Event) => {
      if (!list.current?.contains(event.target as Node)) menu.value = null;
    };
    document.addEventListener('pointerdown', outside);
    return () => document.removeEventListener('pointerdown', outside);
  }, [at]);

  const tree = currentFlame.value;
  if (at === null || tree === null || at.node >= tree.nodeCount) return null;
  const style = {
    left: `${Math.max(4, Math.min(at.x, innerWidth - 216))}px`,
    top: `${Math.max(4, Math.min(at.y, innerHeight - 200))}px`,
  };
  return (
    <div class="menu" role="menu" aria-label={nameOf(tree, at.node)} ref={list} style={style} onKeyDown={(event) => onMenuKey(event, close)}>
      {menuItems(tree, at.node).map((item) => (
        <button
          key={item.label}
          type="button"
          role="menuitem"
          class="option"
          tabIndex={-1}
          onClick={() => {
            close();
            item.run();
          }}
        >
          {item.label}
        </button>
      ))}
    </div>
  );
}

function onMenuKey(event: KeyboardEvent, close: () => void): void {
  const items = [...(event.currentTarget as HTMLElement).children] as HTMLElement[];
  const at = items.indexOf(document.activeElement as HTMLElement);
  if (event.key === 'ArrowDown') items[(at + 1) % items.length].focus();
  else if (event.key === 'ArrowUp') items[(at - 1 + items.length) % items.length].focus();
  else if (event.key === 'Home') items[0].focus();
  else if (event.key === 'End') items[items.length - 1].focus();
  else if (event.key === 'Escape' || event.key === 'Tab') close();
  else return;
  event.preventDefault();
  event.stopPropagation();
}
