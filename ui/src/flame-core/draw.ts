/** Draws the visible part of a tree on a Canvas 2D context. Cost depends on pixels, not on nodes. */
import { NEUTRAL, shortName, type Palette } from './colour.ts';
import type { Flame } from './layout.ts';
import type { Range } from './range.ts';
import { anyBetween, type NodeSet } from './search.ts';
import { firstWhere, NONE } from './tree.ts';

/** Height of one level in CSS pixels. */
export const ROW_HEIGHT = 20;

/** Where the root is: at the top (icicle) or at the bottom (flame). */
export type Orientation = 'icicle' | 'flame';

/** Everything that decides the picture. Lengths are CSS pixels. */
export interface Scene {
  flame: Flame;
  range: Range;
  width: number;
  height: number;
  pixelRatio: number;
  /** Distance that the content is scrolled down. */
  scrollTop: number;
  orientation: Orientation;
  palette: Palette;
  /** Palette slot per distinct name. */
  slots: Uint8Array;
  /** CSS font of the labels; must be monospaced, `glyphWidth` wide. */
  font: string;
  glyphWidth: number;
  search: NodeSet | null;
  selected: NodeSet | null;
  focus: number;
  hover: number;
}

/** Height of all levels. */
export function contentHeight(flame: Flame): number {
  return flame.depth * ROW_HEIGHT;
}

/** Level at a vertical position in the viewport; may be outside the tree. */
export function levelAt(scene: Pick<Scene, 'flame' | 'height' | 'scrollTop' | 'orientation'>, y: number): number {
  const down = y + scene.scrollTop;
  if (scene.orientation === 'icicle') return Math.floor(down / ROW_HEIGHT);
  return Math.floor((Math.max(contentHeight(scene.flame), scene.height) - down) / ROW_HEIGHT);
}

/** Top edge of a level in the viewport. */
export function topOf(scene: Pick<Scene, 'flame' | 'height' | 'scrollTop' | 'orientation'>, level: number): number {
  if (scene.orientation === 'icicle') return level * ROW_HEIGHT - scene.scrollTop;
  return Math.max(contentHeight(scene.flame), scene.height) - (level + 1) * ROW_HEIGHT - scene.scrollTop;
}

/** Paints the scene; returns how many rectangles that took. */
export function drawScene(context: CanvasRenderingContext2D, scene: Scene): number {
  context.setTransform(scene.pixelRatio, 0, 0, scene.pixelRatio, 0, 0);
  context.fillStyle = scene.palette.background;
  context.fillRect(0, 0, scene.width, scene.height);
  context.font = scene.font;
  context.textBaseline = 'middle';
  const [a, b] = [levelAt(scene, 0), levelAt(scene, scene.height - 1)];
  const first = Math.max(0, Math.min(a, b));
  const last = Math.min(scene.flame.depth - 1, Math.max(a, b));
  let rectangles = 0;
  for (let level = first; level <= last; level++) rectangles += drawLevel(context, scene, level);
  drawFocus(context, scene);
  return rectangles;
}

function drawLevel(context: CanvasRenderingContext2D, scene: Scene, level: number): number {
  const { flame, range } = scene;
  const { byLevel, start, total } = flame;
  const low = flame.levelOffset[level];
  const high = flame.levelOffset[level + 1];
  const scale = scene.width / (range.to - range.from);
  const onePixel = 1 / scale;
  const y = topOf(scene, level);
  let rectangles = 0;
  let row = firstWhere(low, high, (r) => start[byLevel[r]] + total[byLevel[r]] > range.from);
  while (row < high) {
    const node = byLevel[row];
    if (start[node] >= range.to) break;
    if (total[node] >= onePixel) {
      const left = snap(scene, Math.max(-1, (start[node] - range.from) * scale));
      const right = snap(scene, Math.min(scene.width + 1, (start[node] + total[node] - range.from) * scale));
      drawBar(context, scene, row, left, y, right - left);
      row++;
    } else {
      const next = endOfRun(flame, row, high, onePixel);
      drawRun(context, scene, row, next, y, scale);
      row = next;
    }
    rectangles++;
  }
  return rectangles;
}

/** Rounds to whole device pixels, so that edges are sharp. */
function snap(scene: Scene, x: number): number {
  return Math.round(x * scene.pixelRatio) / scene.pixelRatio;
}

/** One past the last row of a run of bars narrower than a pixel with no gap of a pixel between them. */
function endOfRun(flame: Flame, row: number, high: number, onePixel: number): number {
  const { byLevel, start, total } = flame;
  for (;;) {
    const next = firstStartingAt(flame, row + 1, high, start[byLevel[row]] + onePixel);
    const last = byLevel[next - 1];
    // Bars of a level do not overlap, so of those that begin within one pixel only the last can be wide.
    if (next - 1 > row && total[last] >= onePixel) return next - 1;
    if (next === high) return high;
    const node = byLevel[next];
    if (total[node] >= onePixel || start[node] > start[last] + total[last] + onePixel) return next;
    row = next;
  }
}

/** First row of `[low, high)` whose bar begins at `position` or later; gallops, as it is usually near. */
function firstStartingAt(flame: Flame, low: number, high: number, position: number): number {
  const { byLevel, start } = flame;
  let step = 1;
  while (low + step < high && start[byLevel[low + step]] < position) {
    low += step;
    step *= 2;
  }
  return firstWhere(low, Math.min(high, low + step), (row) => start[byLevel[row]] >= position);
}

function drawRun(
  context: CanvasRenderingContext2D,
  scene: Scene,
  row: number,
  next: number,
  y: number,
  scale: number,
): void {
  const { flame, palette, range } = scene;
  const first = flame.byLevel[row];
  const last = flame.byLevel[next - 1];
  const left = Math.max(0, (flame.start[first] - range.from) * scale);
  const right = Math.min(scene.width, (flame.start[last] + flame.total[last] - range.from) * scale);
  const matched = scene.search !== null && anyBetween(scene.search, row, next);
  context.fillStyle = scene.search !== null ? palette.dimmed : palette.merged;
  context.fillRect(left, y, Math.max(1, right - left), ROW_HEIGHT - 1);
  if (matched) markRows(context, scene, scene.search!, row, next, y, scale, palette.mergedMatch);
  if (scene.selected !== null) markRows(context, scene, scene.selected, row, next, y, scale, palette.selected);
}

/** Paints one pixel per member of `set` within a run; members that share a pixel are painted once. */
function markRows(
  context: CanvasRenderingContext2D,
  scene: Scene,
  set: NodeSet,
  row: number,
  next: number,
  y: number,
  scale: number,
  colour: string,
): void {
  const { flame, range } = scene;
  const { rows } = set;
  let at = firstWhere(0, rows.length, (i) => rows[i] >= row);
  context.fillStyle = colour;
  while (at < rows.length && rows[at] < next) {
    const begin = flame.start[flame.byLevel[rows[at]]];
    context.fillRect(Math.floor((begin - range.from) * scale), y, 1, ROW_HEIGHT - 1);
    const beyond = begin + 1 / scale;
    at = firstWhere(at + 1, rows.length, (i) => rows[i] >= next || flame.start[flame.byLevel[rows[i]]] >= beyond);
  }
}

function drawBar(
  context: CanvasRenderingContext2D,
  scene: Scene,
  row: number,
  left: number,
  y: number,
  width: number,
): void {
  const { palette } = scene;
  const node = scene.flame.byLevel[row];
  const name = scene.flame.nameIndex[node];
  const slot = node === 0 ? NEUTRAL : scene.slots[name];
  let fill = slot === NEUTRAL ? palette.neutral : palette.bars[slot % palette.bars.length];
  let ink = slot === NEUTRAL ? palette.neutralText : palette.text;
  if (node !== 0 && scene.selected !== null && scene.selected.nameMask[name] === 1) {
    fill = palette.selected;
    ink = palette.selectedText;
  } else if (scene.search !== null && (node === 0 || scene.search.nameMask[name] === 0)) {
    fill = palette.dimmed;
    ink = palette.dimmedText;
  }
  const painted = width >= 3 ? width - 1 : width;
  context.fillStyle = fill;
  context.fillRect(left, y, painted, ROW_HEIGHT - 1);
  if (palette.outlined && width >= 3) {
    context.strokeStyle = ink;
    context.strokeRect(left + 0.5, y + 0.5, painted - 1, ROW_HEIGHT - 2);
  }
  if (node === scene.hover) {
    context.fillStyle = palette.hover;
    context.fillRect(left, y, painted, ROW_HEIGHT - 1);
  }
  if (width > MIN_LABEL_WIDTH) drawLabel(context, scene, scene.flame.names[name], ink, left, y, painted);
}

const LABEL_PADDING = 5;
const MIN_LABEL_WIDTH = 26;

function drawLabel(
  context: CanvasRenderingContext2D,
  scene: Scene,
  name: string,
  ink: string,
  left: number,
  y: number,
  width: number,
): void {
  const textLeft = Math.max(0, left) + LABEL_PADDING;
  const room = Math.min(scene.width, left + width) - LABEL_PADDING + 1 - textLeft;
  const text = fitLabel(name, Math.floor(room / scene.glyphWidth));
  if (text === '') return;
  context.fillStyle = ink;
  context.fillText(text, textLeft, y + ROW_HEIGHT / 2);
}

/** The most telling form of a name in at most `glyphs` characters; empty if that would say nothing. */
export function fitLabel(name: string, glyphs: number): string {
  if (name.length <= glyphs) return name;
  const short = shortName(name);
  if (short.length <= glyphs) return short;
  return glyphs >= 3 ? `${short.slice(0, glyphs - 1)}…` : '';
}

function drawFocus(context: CanvasRenderingContext2D, scene: Scene): void {
  const { flame, range, focus, palette } = scene;
  if (focus === NONE || focus >= flame.nodeCount) return;
  const scale = scene.width / (range.to - range.from);
  const left = Math.max(0, (flame.start[focus] - range.from) * scale);
  const right = Math.min(scene.width, (flame.start[focus] + flame.total[focus] - range.from) * scale);
  const y = topOf(scene, flame.level[focus]);
  if (right < 0 || left > scene.width || y > scene.height || y < -ROW_HEIGHT) return;
  const width = Math.max(4, right - left - 1);
  context.lineWidth = 4;
  context.strokeStyle = palette.focusHalo;
  context.strokeRect(left + 1, y + 1, width - 2, ROW_HEIGHT - 3);
  context.lineWidth = 2;
  context.strokeStyle = palette.focus;
  context.strokeRect(left + 1, y + 1, width - 2, ROW_HEIGHT - 3);
  context.lineWidth = 1;
}
