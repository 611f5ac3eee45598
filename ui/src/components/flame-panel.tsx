/** The flame graph with what is done to it above, and its breadcrumb and status line. */
import { computed, useSignalEffect } from '@preact/signals';
import type { JSX } from 'preact';
import {
  nameOf,
  nameTail,
  pathKey,
  pathTo,
  totalOf,
  type ChartView,
  type Flame,
  type FlameChart,
  type Orientation,
} from '../flame-core/index.ts';
import { formatCount, formatShare, formatValue } from '../format/units.ts';
import {
  currentFlame,
  field,
  flameState,
  flameSummary,
  focusShare,
  searchWeight,
  selectedSet,
  selectedWeight,
  state,
  unit,
  update,
  zoomNode,
} from '../state/store.ts';
import { markTime } from '../state/timing.ts';
import { NODE_CHOICES, type Span } from '../state/url.ts';
import { chart, Graph, Menu, Tooltip } from './graph.tsx';
import { CloseIcon } from './icons.tsx';
import { ErrorNote } from './notes.tsx';
import { Sandwich } from './sandwich.tsx';

const span = field('span');
const shape = field('shape');
const orientation = computed((): Orientation => (shape.value === 'flame' ? 'flame' : 'icicle'));

export function FlamePanel(): JSX.Element {
  const { error, loading, received, value } = flameState.value;
  const isSandwich = shape.value === 'sandwich';
  const isMissing = value !== null && value.nodeCount === 0;
  useSignalEffect(followAddress);
  return (
    <section class={`panel flame-panel root-${orientation.value === 'icicle' ? 'above' : 'below'}`} aria-label="Flame graph">
      {loading && <Progress received={received} />}
      <FocusBar />
      <div class="flame-body">
        {isSandwich ? (
          <Sandwich />
        ) : (
          <Graph
            id="flame"
            label="Flame graph"
            tree={currentFlame}
            orientation={orientation}
            selected={selectedSet}
            stale={loading && value !== null}
            hidden={error !== null || value === null || isMissing}
            primary={true}
            onFocus={selectFocused}
            onView={rememberView}
            onTree={showRemembered}
          />
        )}
        {error !== null && <ErrorNote error={error} />}
        {isMissing && <p class="note muted">The focused function is not in this profile.</p>}
      </div>
      {!isSandwich && <Breadcrumb />}
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

function selectFocused(tree: Flame, node: number): void {
  update({ selected: node === 0 ? '' : nameOf(tree, node) }, 'replace');
}

/** Puts what the chart shows into the URL: zooming to a node is a step back can undo, moving is not. */
function rememberView(tree: Flame, view: ChartView): void {
  const zoom = view.node === 0 ? '' : pathKey(tree, view.node);
  update({ zoom, span: toSpan(tree, view) }, zoom === state.peek().zoom ? 'replace' : 'push');
}

/** Shows the view of the URL in a tree that is new. */
function showRemembered(widget: FlameChart, tree: Flame): void {
  widget.showView(toView(tree, zoomNode.peek(), span.peek()), false);
  requestAnimationFrame(() => markTime('argand-flame-painted'));
}

/** Moves the chart when back, forward or a link has changed the view of the same tree. */
function followAddress(): void {
  const [tree, node, part] = [currentFlame.value, zoomNode.value, span.value];
  const widget = chart.value;
  if (tree !== null && widget !== null && widget.isShowing(tree)) widget.showView(toView(tree, node, part));
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

/** How many callers of the zoomed bar are named; the ones between them and the root are left out. */
const CRUMBS = 3;

/** The way to the zoomed bar; every step of it can be zoomed to. */
function Breadcrumb(): JSX.Element | null {
  const tree = currentFlame.value;
  const node = zoomNode.value;
  if (tree === null || (node === 0 && span.value === null)) return null;
  const callers = pathTo(tree, node).slice(1, -1);
  const named = callers.slice(-CRUMBS);
  return (
    <nav aria-label="Zoomed to">
      <ol class="breadcrumb">
      <Crumb tree={tree} node={0} />
      {named.length < callers.length && (
        <li class="muted" aria-hidden="true">
          …
        </li>
      )}
      {named.map((caller) => (
        <Crumb key={caller} tree={tree} node={caller} />
      ))}
      <li class="crumb-here">
        <strong class="mono ellipsis">{node === 0 ? 'a part of the graph' : nameOf(tree, node)}</strong>
        {node !== 0 && <span class="muted number">{formatShare(tree.total[node] / (totalOf(tree) || 1))}</span>}
      </li>
      <li class="crumb-end">
        <button type="button" class="button small" onClick={() => chart.peek()?.resetZoom()}>
          <CloseIcon />
          Show all
        </button>
      </li>
      </ol>
    </nav>
  );
}

function Crumb({ tree, node }: { tree: Flame; node: number }): JSX.Element {
  return (
    <li class="crumb">
      <button type="button" class="crumb-button mono ellipsis" title={nameOf(tree, node)} onClick={() => chart.peek()?.zoomTo(node)}>
        {nameTail(nameOf(tree, node))}
      </button>
    </li>
  );
}

/** What the graph is reduced to, and the way back. */
function FocusBar(): JSX.Element | null {
  const { focus } = state.value;
  if (focus === '') return null;
  const share = focusShare.value;
  return (
    <div class="focus-bar">
      <span class="muted">Only calls of</span> <strong class="mono ellipsis">{focus}</strong>
      {share !== null && <span class="muted number">{formatShare(share)} of everything</span>}
      <button type="button" class="button small" onClick={() => update({ focus: '', zoom: '', span: null })}>
        <CloseIcon />
        Show everything
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

