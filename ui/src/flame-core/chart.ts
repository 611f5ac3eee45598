/**
 * The flame graph as a widget: owns a scroller with one viewport-sized canvas, turns pointer and key
 * events into range, scroll and focus changes, and repaints at most once per animation frame.
 */
import { colourSlots, type ColourBy, type Palette } from './colour.ts';
import { contextOf, Painter } from './draw.ts';
import { LabelTexts } from './labels.ts';
import { startOf, type Flame } from './layout.ts';
import {
  betweenRanges,
  clampRange,
  fullRange,
  panRange,
  rangeOf,
  sameRange,
  scaleRange,
  type Range,
} from './range.ts';
import { contentHeight, levelAt, ROW_HEIGHT, topOf, type Geometry, type Orientation, type Scene } from './scene.ts';
import { heaviestOf, nextMatch, nodesNamed, type NodeSet } from './search.ts';
import { findPath, heaviestChild, NONE, nodeAt, pathKey, siblingsOf } from './tree.ts';
import { renderTreeView } from './treeview.ts';

/** What the chart tells its owner. Positions are client coordinates. */
export interface ChartEvents {
  /** The pointer is over a node, or over none (`NONE`). */
  hover(node: number, x: number, y: number): void;
  /** The focused node changed by a user action. */
  focus(node: number): void;
  /** The user zoomed: to a node, to a free range (`node` is the last node zoomed to), or out. */
  view(view: ChartView): void;
  /** A context menu was asked for. */
  menu(node: number, x: number, y: number): void;
}

/** What is zoomed to. `range` is null when it is exactly the node's own range. */
export interface ChartView {
  node: number;
  range: Range | null;
}

const ANIMATION_MS = 180;
const DRAG_THRESHOLD = 4;
const WHEEL_SPEED = 0.0016;
const LABEL_FONT = '12px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace';

/** Attach with `new FlameChart(host, events)`, detach with `destroy()`. */
export class FlameChart {
  readonly canvas: HTMLCanvasElement;
  private readonly scroller: HTMLElement;
  private readonly spacer: HTMLElement;
  private readonly list: HTMLElement;
  private readonly context: CanvasRenderingContext2D;
  private readonly painter: Painter;
  private readonly resizeObserver: ResizeObserver;
  private readonly pointers = new Map<number, PointerEvent>();
  private readonly glyphWidth: number;
  private readonly reducedMotion = matchMedia('(prefers-reduced-motion: reduce)');

  private flame: Flame | null = null;
  private palette: Palette;
  private slots: Uint8Array = new Uint8Array();
  private labels = new LabelTexts([]);
  private colourBy: ColourBy = 'package';
  private orientation: Orientation = 'icicle';
  private range: Range = { from: 0, to: 1 };
  private search: NodeSet | null = null;
  private selected: NodeSet | null = null;
  private focusedNode = NONE;
  private hoveredNode = NONE;
  private zoomed: number[] = [0];
  private width = 0;
  private height = 0;
  private frame = 0;
  private animation: { from: Range; to: Range; began: number } | null = null;
  private drag: { x: number; y: number; moved: boolean; brushing: boolean } | null = null;
  private brush: Scene['brush'] = null;
  private settleTimer = 0;

  constructor(
    host: HTMLElement,
    private readonly events: ChartEvents,
    palette: Palette,
    label: string,
  ) {
    this.palette = palette;
    this.scroller = child(host, 'div', 'flame-scroller');
    this.canvas = child(this.scroller, 'canvas', 'flame-canvas');
    this.spacer = child(this.scroller, 'div', 'flame-spacer');
    this.list = child(host, 'div', 'visually-hidden');
    this.list.id = `${host.id}-nodes`;
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute('role', 'tree');
    this.canvas.setAttribute('aria-label', label);
    this.canvas.setAttribute('aria-owns', this.list.id);
    this.list.setAttribute('role', 'group');
    this.context = contextOf(this.canvas, { alpha: false });
    this.painter = new Painter(this.context);
    this.context.font = LABEL_FONT;
    this.glyphWidth = this.context.measureText('0'.repeat(100)).width / 100;
    this.listen();
    this.resizeObserver = new ResizeObserver(() => this.resize());
    this.resizeObserver.observe(this.scroller);
    this.resize();
  }

  destroy(): void {
    this.resizeObserver.disconnect();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.settleTimer);
    this.scroller.remove();
    this.list.remove();
  }

  /** Shows a tree unzoomed. Keyboard focus stays on the same path if the new tree has it. */
  setFlame(flame: Flame | null): void {
    const before = this.flame;
    const focusKey = before === null || this.focusedNode === NONE ? null : pathKey(before, this.focusedNode);
    this.flame = flame;
    this.search = null;
    this.selected = null;
    this.focusedNode = flame === null || focusKey === null ? NONE : findPath(flame, focusKey);
    this.hoveredNode = NONE;
    this.zoomed = [0];
    this.animation = null;
    if (flame !== null) {
      this.range = fullRange(flame);
      this.slots = colourSlots(flame.names, this.colourBy);
      this.labels = new LabelTexts(flame.names);
    }
    this.layoutScroller();
    if (before === null) this.scrollToRoot();
    this.exposeTree();
    this.repaint();
  }

  setPalette(palette: Palette): void {
    this.palette = palette;
    this.repaint();
  }

  setColourBy(colourBy: ColourBy): void {
    if (this.colourBy === colourBy) return;
    this.colourBy = colourBy;
    if (this.flame !== null) this.slots = colourSlots(this.flame.names, colourBy);
    this.repaint();
  }

  setOrientation(orientation: Orientation): void {
    if (this.orientation === orientation) return;
    this.orientation = orientation;
    this.scrollToRoot();
    this.repaint();
  }

  setSearch(set: NodeSet | null): void {
    this.search = set;
    this.repaint();
  }

  setSelected(set: NodeSet | null): void {
    this.selected = set;
    this.repaint();
  }

  focused(): number {
    return this.focusedNode;
  }

  /** Whether this is the tree that is shown. */
  isShowing(flame: Flame): boolean {
    return this.flame === flame;
  }

  /** What is zoomed to now. */
  view(): ChartView {
    const node = this.zoomed[this.zoomed.length - 1];
    const target = this.animation?.to ?? this.range;
    const exact = this.flame === null || sameRange(target, rangeOf(this.flame, node));
    return { node, range: exact ? null : target };
  }

  /** Shows a view without telling the owner; used when the view comes from outside. */
  showView(view: ChartView, animate = true): void {
    const flame = this.flame;
    if (flame === null) return;
    const current = this.view();
    const wanted = clampRange(flame, view.range ?? rangeOf(flame, view.node));
    if (current.node === view.node && sameRange(this.animation?.to ?? this.range, wanted)) return;
    if (view.node === 0) this.zoomed = [0];
    else if (current.node !== view.node) this.zoomed.push(view.node);
    this.moveTo(wanted, animate);
    this.revealLevel(flame.level[view.node]);
  }

  /** Zooms so that a node fills the width. */
  zoomTo(node: number): void {
    if (this.flame === null) return;
    if (this.zoomed[this.zoomed.length - 1] !== node) this.zoomed = node === 0 ? [0] : [...this.zoomed, node];
    this.moveTo(rangeOf(this.flame, node));
    this.revealLevel(this.flame.level[node]);
    this.events.view(this.view());
  }

  /** Undoes free movement first, then one zoom step at a time. */
  zoomBack(): void {
    if (this.flame === null) return;
    if (this.view().range === null && this.zoomed.length > 1) this.zoomed.pop();
    this.moveTo(rangeOf(this.flame, this.zoomed[this.zoomed.length - 1]));
    this.events.view(this.view());
  }

  resetZoom(): void {
    this.zoomTo(0);
  }

  /** Moves keyboard focus to a node and brings it into view. */
  focusNode(node: number): void {
    const flame = this.flame;
    if (flame === null || node === NONE) return;
    this.focusedNode = node;
    this.exposeTree();
    this.revealNode(node);
    this.repaint();
    this.events.focus(node);
  }

  /** Focuses the next (1) or previous (-1) bar that the search matches. */
  goToMatch(step: 1 | -1): void {
    if (this.flame === null || this.search === null) return;
    this.focusNode(nextMatch(this.flame, this.search, Math.max(0, this.focusedNode), step));
  }

  /** Focuses the heaviest bar of a function, if there is one. */
  goToFunction(name: string): void {
    const { flame } = this;
    if (flame === null) return;
    this.focusNode(heaviestOf(flame, nodesNamed(flame, name)));
    this.canvas.focus();
  }

  private listen(): void {
    const { canvas } = this;
    canvas.addEventListener('pointerdown', (event) => this.pointerDown(event));
    canvas.addEventListener('pointermove', (event) => this.pointerMove(event));
    canvas.addEventListener('pointerup', (event) => this.pointerUp(event));
    canvas.addEventListener('pointercancel', (event) => this.pointerEnd(event));
    canvas.addEventListener('pointerleave', () => this.setHover(NONE, 0, 0));
    canvas.addEventListener('contextmenu', (event) => this.contextMenu(event));
    canvas.addEventListener('wheel', (event) => this.wheel(event), { passive: false });
    canvas.addEventListener('keydown', (event) => this.keyDown(event));
    canvas.addEventListener('focus', () => this.exposeTree());
    this.scroller.addEventListener('scroll', () => this.repaint(), { passive: true });
  }

  private pointerDown(event: PointerEvent): void {
    if (event.button !== 0) return;
    this.pointers.set(event.pointerId, event);
    this.canvas.setPointerCapture(event.pointerId);
    const brushing = event.shiftKey && this.pointers.size === 1;
    this.drag = { x: event.clientX, y: event.clientY, moved: this.pointers.size > 1, brushing };
  }

  private pointerMove(event: PointerEvent): void {
    const previous = this.pointers.get(event.pointerId);
    if (previous === undefined || this.drag === null) {
      this.hoverAt(event.clientX, event.clientY);
      return;
    }
    if (this.pointers.size === 2) this.pinch(previous, event);
    else this.dragBy(previous, event);
    this.pointers.set(event.pointerId, event);
  }

  private dragBy(previous: PointerEvent, event: PointerEvent): void {
    const drag = this.drag!;
    const distance = Math.hypot(event.clientX - drag.x, event.clientY - drag.y);
    if (!drag.moved && distance < DRAG_THRESHOLD) return;
    drag.moved = true;
    this.setHover(NONE, 0, 0);
    if (this.flame === null) return;
    if (drag.brushing) return this.setBrush(drag.x, event.clientX);
    this.setRange(panRange(this.flame, this.range, (previous.clientX - event.clientX) / this.width));
    this.scroller.scrollTop += previous.clientY - event.clientY;
  }

  private setBrush(from: number, to: number): void {
    const origin = this.canvas.getBoundingClientRect().left;
    const [left, right] = [from - origin, to - origin].sort((a, b) => a - b);
    this.brush = { left: Math.max(0, left), right: Math.min(this.width, right) };
    this.repaint();
  }

  /** Zooms to what was brushed. */
  private endBrush(): void {
    const { brush, flame } = this;
    this.brush = null;
    if (brush === null || flame === null || brush.right - brush.left < DRAG_THRESHOLD) return;
    const perPixel = (this.range.to - this.range.from) / this.width;
    const from = this.range.from + brush.left * perPixel;
    this.moveTo(clampRange(flame, { from, to: from + (brush.right - brush.left) * perPixel }));
    this.events.view(this.view());
  }

  private pinch(previous: PointerEvent, event: PointerEvent): void {
    const other = [...this.pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId);
    if (other === undefined || this.flame === null) return;
    const before = Math.abs(previous.clientX - other.clientX);
    const after = Math.abs(event.clientX - other.clientX);
    if (before < 8 || after < 8) return;
    const middle = (event.clientX + other.clientX) / 2 - this.canvas.getBoundingClientRect().left;
    this.setRange(scaleRange(this.flame, this.range, before / after, middle / this.width));
  }

  private pointerUp(event: PointerEvent): void {
    const clicked = this.drag !== null && !this.drag.moved && this.pointers.size === 1;
    this.pointerEnd(event);
    if (!clicked) return;
    const node = this.nodeUnder(event.clientX, event.clientY);
    if (node === NONE) return;
    this.zoomTo(node);
    this.focusNode(node);
  }

  private pointerEnd(event: PointerEvent): void {
    this.pointers.delete(event.pointerId);
    if (this.pointers.size > 0) return;
    this.drag = null;
    if (event.type === 'pointerup') this.endBrush();
    this.brush = null;
  }

  private contextMenu(event: MouseEvent): void {
    const node = this.nodeUnder(event.clientX, event.clientY);
    if (node === NONE) return;
    event.preventDefault();
    this.setHover(NONE, 0, 0);
    this.events.menu(node, event.clientX, event.clientY);
  }

  /** Wheel zooms at the pointer; sideways wheel pans; with Shift it scrolls the levels. */
  private wheel(event: WheelEvent): void {
    if (this.flame === null) return;
    event.preventDefault();
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? ROW_HEIGHT : 1;
    if (event.shiftKey) {
      this.scroller.scrollTop += (event.deltaY || event.deltaX) * unit;
      return;
    }
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      this.setRange(panRange(this.flame, this.range, (event.deltaX * unit) / this.width));
      return;
    }
    const anchor = (event.clientX - this.canvas.getBoundingClientRect().left) / this.width;
    this.setRange(scaleRange(this.flame, this.range, Math.exp(event.deltaY * unit * WHEEL_SPEED), anchor));
    this.hoverAt(event.clientX, event.clientY);
  }

  private keyDown(event: KeyboardEvent): void {
    const flame = this.flame;
    if (flame === null || flame.nodeCount === 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const action = this.actionFor(event, flame);
    if (action === null) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  }

  private actionFor(event: KeyboardEvent, flame: Flame): (() => void) | null {
    const node = this.focusedNode === NONE ? 0 : this.focusedNode;
    const move = (target: number) => () => this.focusNode(target === NONE ? node : target);
    const deeper = this.orientation === 'icicle' ? 'ArrowDown' : 'ArrowUp';
    const shallower = this.orientation === 'icicle' ? 'ArrowUp' : 'ArrowDown';
    switch (event.key) {
      case deeper:
        return move(this.focusedNode === NONE ? 0 : heaviestChild(flame, node));
      case shallower:
        return move(flame.parent[node]);
      case 'ArrowLeft':
        return move(neighbour(flame, node, -1));
      case 'ArrowRight':
        return move(neighbour(flame, node, 1));
      case 'Home':
        return move(0);
      case 'Enter':
        return () => this.zoomTo(node);
      case 'Escape':
      case 'Backspace':
        return () => this.zoomBack();
      case '+':
      case '=':
        return () => this.setRange(scaleRange(flame, this.range, 0.7, this.anchorOf(flame, node)));
      case '-':
        return () => this.setRange(scaleRange(flame, this.range, 1 / 0.7, this.anchorOf(flame, node)));
      case 'ContextMenu':
        return () => this.menuAtFocus(flame, node);
      case 'F10':
        return event.shiftKey ? () => this.menuAtFocus(flame, node) : null;
      default:
        return null;
    }
  }

  /** Where in the viewport (0 to 1) the middle of a node is. */
  private anchorOf(flame: Flame, node: number): number {
    const middle = startOf(flame, node) + flame.total[node] / 2;
    return Math.min(1, Math.max(0, (middle - this.range.from) / (this.range.to - this.range.from)));
  }

  private menuAtFocus(flame: Flame, node: number): void {
    const box = this.canvas.getBoundingClientRect();
    const x = box.left + this.anchorOf(flame, node) * this.width;
    this.events.menu(node, x, box.top + topOf(this.geometry(flame), flame.level[node]) + ROW_HEIGHT);
  }

  private nodeUnder(clientX: number, clientY: number): number {
    const flame = this.flame;
    if (flame === null || this.width === 0) return NONE;
    const box = this.canvas.getBoundingClientRect();
    const perPixel = (this.range.to - this.range.from) / this.width;
    const position = this.range.from + (clientX - box.left) * perPixel;
    return nodeAt(flame, levelAt(this.geometry(flame), clientY - box.top), position, perPixel);
  }

  private hoverAt(clientX: number, clientY: number): void {
    this.setHover(this.nodeUnder(clientX, clientY), clientX, clientY);
  }

  private setHover(node: number, x: number, y: number): void {
    if (node !== this.hoveredNode) {
      this.hoveredNode = node;
      this.canvas.classList.toggle('over-node', node !== NONE);
      this.repaint();
    }
    this.events.hover(node, x, y);
  }

  /** Applies a range at once (dragging, wheel) and reports it when the movement has settled. */
  private setRange(range: Range): void {
    this.animation = null;
    this.range = range;
    this.repaint();
    clearTimeout(this.settleTimer);
    this.settleTimer = window.setTimeout(() => this.events.view(this.view()), 200);
  }

  private moveTo(range: Range, animate = true): void {
    this.animation = null;
    if (!animate || this.reducedMotion.matches) this.range = range;
    else this.animation = { from: this.range, to: range, began: performance.now() };
    this.repaint();
  }

  private revealNode(node: number): void {
    const flame = this.flame!;
    this.revealLevel(flame.level[node]);
    const target = this.animation?.to ?? this.range;
    const start = startOf(flame, node);
    const outside = start >= target.to || start + flame.total[node] <= target.from;
    if (!outside) return;
    let ancestor = node;
    while (ancestor !== 0 && flame.total[ancestor] < target.to - target.from) ancestor = flame.parent[ancestor];
    this.moveTo(rangeOf(flame, ancestor));
    this.zoomed = ancestor === 0 ? [0] : [...this.zoomed, ancestor];
    this.events.view(this.view());
  }

  private revealLevel(level: number): void {
    if (this.flame === null) return;
    const y = topOf(this.geometry(this.flame), level);
    const margin = ROW_HEIGHT * 2;
    if (y < margin) this.scroller.scrollTop += y - margin;
    else if (y > this.height - margin - ROW_HEIGHT) this.scroller.scrollTop += y - this.height + margin + ROW_HEIGHT;
  }

  private scrollToRoot(): void {
    this.scroller.scrollTop = this.orientation === 'icicle' ? 0 : this.scroller.scrollHeight;
  }

  private exposeTree(): void {
    renderTreeView(this.list, this.canvas, this.flame, this.focusedNode);
  }

  private resize(): void {
    const wasVisible = this.isInView(this.focusedNode);
    this.width = this.scroller.clientWidth;
    this.height = this.scroller.clientHeight;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.style.width = `${this.width}px`;
    this.canvas.style.height = `${this.height}px`;
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    this.layoutScroller();
    if (wasVisible) this.revealLevel(this.flame!.level[this.focusedNode]);
    cancelAnimationFrame(this.frame);
    this.paint();
  }

  private isInView(node: number): boolean {
    if (this.flame === null || node === NONE) return false;
    const y = topOf(this.geometry(this.flame), this.flame.level[node]);
    return y > -ROW_HEIGHT && y < this.height;
  }

  private layoutScroller(): void {
    const content = this.flame === null ? 0 : contentHeight(this.flame);
    this.spacer.style.height = `${Math.max(0, content - this.height)}px`;
  }

  private repaint(): void {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.paint());
  }

  private paint(): void {
    if (this.animation !== null) {
      const t = (performance.now() - this.animation.began) / ANIMATION_MS;
      this.range = betweenRanges(this.animation.from, this.animation.to, t);
      if (t >= 1) this.animation = null;
    }
    if (this.flame === null || this.width === 0 || this.height === 0) this.clear();
    else this.painter.draw(this.scene(this.flame));
    if (this.animation !== null) this.repaint();
  }

  private clear(): void {
    this.context.setTransform(1, 0, 0, 1, 0, 0);
    this.context.fillStyle = this.palette.background;
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
  }

  private geometry(flame: Flame): Geometry {
    return { flame, height: this.height, scrollTop: this.scroller.scrollTop, orientation: this.orientation };
  }

  private scene(flame: Flame): Scene {
    return {
      ...this.geometry(flame),
      range: this.range,
      width: this.width,
      pixelRatio: window.devicePixelRatio || 1,
      palette: this.palette,
      slots: this.slots,
      labels: this.labels,
      font: LABEL_FONT,
      glyphWidth: this.glyphWidth,
      search: this.search,
      selected: this.selected,
      focus: this.focusedNode,
      hover: this.hoveredNode,
      brush: this.brush,
    };
  }
}

function neighbour(flame: Flame, node: number, step: number): number {
  const siblings = siblingsOf(flame, node);
  return siblings[siblings.indexOf(node) + step] ?? node;
}

function child<Tag extends keyof HTMLElementTagNameMap>(
  parent: HTMLElement,
  tag: Tag,
  className: string,
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  element.className = className;
  parent.append(element);
  return element;
}

