/** One chart on the page, and the tooltip and the menu that all charts share. */
import { signal, useSignalEffect, type ReadonlySignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import {
  FlameChart,
  isFolded,
  nameOf,
  NONE,
  totalOf,
  type ChartEvents,
  type Flame,
  type NodeSet,
  type Orientation,
} from '../flame-core/index.ts';
import { formatShare, formatValue } from '../format/units.ts';
import { currentFlame, field, matchesIn, state, totalsByName, unit, update } from '../state/store.ts';
import { palette } from '../state/theme.ts';
import { copyText } from './notes.tsx';

/** The chart that keys and the table act on; null while none is shown. */
export const chart = signal<FlameChart | null>(null);

/** A node of a tree that is shown, and where the pointer is. */
interface NodeAt {
  tree: Flame;
  widget: FlameChart;
  node: number;
  x: number;
  y: number;
}

const hover = signal<NodeAt | null>(null);
const menu = signal<NodeAt | null>(null);
const colourBy = field('colourBy');

interface GraphProps {
  id: string;
  label: string;
  tree: ReadonlySignal<Flame | null>;
  orientation: ReadonlySignal<Orientation>;
  selected?: ReadonlySignal<NodeSet | null>;
  stale: boolean;
  hidden: boolean;
  /** Whether keys and the table act on this chart. */
  primary: boolean;
  onFocus?: (tree: Flame, node: number) => void;
  onView?: (tree: Flame, view: ReturnType<FlameChart['view']>) => void;
  /** Called with the chart when it is there, and after it has got another tree. */
  onTree?: (widget: FlameChart, tree: Flame) => void;
}

/** A chart with its events. All functions and signals among the properties must stay the same. */
export function Graph(props: GraphProps): JSX.Element {
  const host = useRef<HTMLDivElement>(null);
  const own = useRef(signal<FlameChart | null>(null)).current;
  const { tree, orientation, selected, primary, onFocus, onView, onTree } = props;

  useEffect(() => {
    const at = (node: number, x: number, y: number): NodeAt | null => {
      const shown = tree.peek();
      return shown === null || node === NONE ? null : { tree: shown, widget, node, x, y };
    };
    const events: ChartEvents = {
      hover: (node, x, y) => (hover.value = at(node, x, y)),
      menu: (node, x, y) => (menu.value = at(node, x, y)),
      focus: (node) => tree.peek() !== null && onFocus?.(tree.peek()!, node),
      view: (view) => tree.peek() !== null && onView?.(tree.peek()!, view),
    };
    const widget: FlameChart = new FlameChart(host.current!, events, palette.peek(), props.label);
    own.value = widget;
    if (primary) chart.value = widget;
    return () => {
      if (chart.peek() === widget) chart.value = null;
      own.value = null;
      hover.value = null;
      menu.value = null;
      widget.destroy();
    };
  }, []);

  useSignalEffect(() => own.value?.setPalette(palette.value));
  useSignalEffect(() => own.value?.setColourBy(colourBy.value));
  useSignalEffect(() => own.value?.setOrientation(orientation.value));
  useSignalEffect(() => {
    const shown = tree.value;
    const widget = own.value;
    widget?.setFlame(shown);
    hover.value = null;
    menu.value = null;
    if (shown !== null && widget !== null) onTree?.(widget, shown);
  });
  // After the tree, because a new tree has no marks.
  useSignalEffect(() => own.value?.setSearch(matchesIn(tree.value)));
  useSignalEffect(() => {
    tree.value;
    own.value?.setSelected(selected?.value ?? null);
  });

  const classes = ['flame-host', props.stale ? 'stale' : '', props.hidden ? 'hidden' : ''];
  return <div id={props.id} class={classes.join(' ').trim()} ref={host} />;
}

/** Self and total of the bar under the pointer. */
export function Tooltip(): JSX.Element | null {
  const at = hover.value;
  if (at === null) return null;
  const { tree, node, x, y } = at;
  const totals = tree === currentFlame.value ? totalsByName.value : null;
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
          {node !== 0 && totals !== null && totals.total[name] > tree.total[node] && !isFolded(tree, node) && (
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

const MENU_HEIGHT = 240;

interface MenuItem {
  label: string;
  run: () => void;
}

function menuItems({ tree, node, widget }: NodeAt): MenuItem[] {
  const name = nameOf(tree, node);
  const copy: MenuItem = { label: 'Copy name', run: () => void copyText(name) };
  const reset: MenuItem = {
    label: 'Reset view',
    run: () => {
      update({ search: '', selected: '', focus: '' }, 'replace');
      widget.resetZoom();
    },
  };
  if (node === 0) return [copy, reset];
  const isFunction = !isFolded(tree, node);
  return [
    { label: 'Zoom to this bar', run: () => widget.zoomTo(node) },
    ...(isFunction
      ? [
          { label: 'Focus on this function', run: () => update({ focus: name, shape: shapeForFocus(), zoom: '', span: null }) },
          { label: 'Callers and callees', run: () => update({ selected: name, shape: 'sandwich' }) },
          { label: 'Search this function', run: () => update({ search: name, regex: false }, 'replace') },
          { label: 'Select this function', run: () => update({ selected: name }, 'replace') },
        ]
      : []),
    copy,
    reset,
  ];
}

/** The focused function fills the graph, so the sandwich gives way. */
function shapeForFocus(): Orientation {
  const { shape } = state.peek();
  return shape === 'sandwich' ? 'icicle' : shape;
}

/** What can be done with a bar. */
export function Menu(): JSX.Element | null {
  const at = menu.value;
  const list = useRef<HTMLDivElement>(null);
  const close = () => {
    menu.value = null;
    at?.widget.canvas.focus({ preventScroll: true });
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

  if (at === null) return null;
  const style = {
    left: `${Math.max(4, Math.min(at.x, innerWidth - 216))}px`,
    top: `${Math.max(4, Math.min(at.y, innerHeight - MENU_HEIGHT))}px`,
  };
  return (
    <div class="menu" role="menu" aria-label={nameOf(at.tree, at.node)} ref={list} style={style} onKeyDown={(event) => onMenuKey(event, close)}>
      {menuItems(at).map((item) => (
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
