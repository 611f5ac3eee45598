/**
 * Paints levels into lines of pixels: one line per level, which is later stretched to the level's height.
 *
 * The cost of a line depends on its pixels, not on the nodes of its level: bars narrower than a pixel are
 * passed over by searching for the first bar that begins in the next pixel. Nothing is allocated.
 */
import { NEUTRAL } from './colour.ts';
import type { Scene } from './scene.ts';
import { firstAbove, firstAtLeast, nearAtLeast } from './sorted.ts';

/** Colours of a palette as pixels in the memory order of `ImageData`, read as one 32-bit number. */
export interface PixelPalette {
  bars: Uint32Array;
  neutral: number;
  merged: number;
  mergedMatch: number;
  dimmed: number;
  selected: number;
  background: number;
}

/** Which of the palette's text colours goes with a bar. */
export const Ink = { normal: 0, neutral: 1, dimmed: 2, selected: 3 } as const;

/** Narrowest bar in CSS pixels that gets a label. */
export const MIN_LABEL_WIDTH = 26;
/** Narrowest bar in CSS pixels that is set off from its right neighbour by a pixel of background. */
export const MIN_GAP_WIDTH = 3;

/**
 * Bars that are wide enough for a label (or for an outline), in the order of painting; reused from frame
 * to frame. No more than pixels of a line divided by the narrowest width, per level.
 */
export class WideBars {
  count = 0;
  node = new Uint32Array(256);
  level = new Uint32Array(256);
  /** Edges in device pixels; may lie outside the line by one pixel. */
  left = new Int32Array(256);
  right = new Int32Array(256);
  ink = new Uint8Array(256);

  add(node: number, level: number, left: number, right: number, ink: number): void {
    if (this.count === this.node.length) this.grow();
    const at = this.count++;
    this.node[at] = node;
    this.level[at] = level;
    this.left[at] = left;
    this.right[at] = right;
    this.ink[at] = ink;
  }

  private grow(): void {
    this.node = doubled(this.node);
    this.level = doubled(this.level);
    this.left = doubled(this.left);
    this.right = doubled(this.right);
    this.ink = doubled(this.ink);
  }
}

function doubled<T extends Uint32Array | Int32Array | Uint8Array>(column: T): T {
  const larger = new (column.constructor as new (length: number) => T)(column.length * 2);
  larger.set(column);
  return larger;
}

/**
 * Paints a level into `line`, one entry per device pixel; adds its wide bars. Returns how many bars and
 * pixels of merged bars that took.
 */
export function rasterLevel(scene: Scene, colours: PixelPalette, level: number, line: Uint32Array, wide: WideBars): number {
  const { flame, range, pixelRatio } = scene;
  const { rowStart, rowEnd } = flame;
  const { from, to } = range;
  line.fill(colours.background);
  const low = flame.levelOffset[level];
  const high = flame.levelOffset[level + 1];
  const scale = line.length / (to - from);
  const pixel = 1 / scale;
  const minWide = (scene.palette.outlined ? MIN_GAP_WIDTH : MIN_LABEL_WIDTH) * pixelRatio;
  const gap = Math.round(pixelRatio);
  const minGap = MIN_GAP_WIDTH * pixelRatio;
  const matches = scene.search?.rows ?? null;
  const marks = scene.selected?.rows ?? null;
  let matchAt = matches === null ? 0 : firstAtLeast(matches, 0, matches.length, low);
  let markAt = marks === null ? 0 : firstAtLeast(marks, 0, marks.length, low);
  let painted = 0;
  let row = firstAbove(rowEnd, low, high, from);
  while (row < high) {
    const start = rowStart[row];
    if (start >= to) break;
    painted++;
    if (rowEnd[row] - start >= pixel) {
      const left = Math.round(Math.max(-1, (start - from) * scale));
      const right = Math.max(left + 1, Math.round(Math.min(line.length + 1, (rowEnd[row] - from) * scale)));
      const node = flame.byLevel[row];
      const name = flame.nameIndex[node];
      const slot = node === 0 ? NEUTRAL : scene.slots[name];
      let fill = slot === NEUTRAL ? colours.neutral : colours.bars[slot % colours.bars.length];
      let ink: number = slot === NEUTRAL ? Ink.neutral : Ink.normal;
      if (node !== 0 && scene.selected !== null && scene.selected.nameMask[name] === 1) {
        fill = colours.selected;
        ink = Ink.selected;
      } else if (scene.search !== null && (node === 0 || scene.search.nameMask[name] === 0)) {
        fill = colours.dimmed;
        ink = Ink.dimmed;
      }
      const end = right - left >= minGap ? right - gap : right;
      line.fill(fill, Math.max(0, left), Math.max(0, end));
      if (right - left > minWide) wide.add(node, level, left, end, ink);
      row++;
      continue;
    }
    const x = Math.max(0, Math.floor((start - from) * scale));
    let next = nearAtLeast(rowStart, row + 1, high, from + (x + 1) * pixel);
    // Bars of a level do not overlap, so of those that begin within one pixel only the last can be wide.
    if (next > row + 1 && rowEnd[next - 1] - rowStart[next - 1] >= pixel) next--;
    let fill = matches === null ? colours.merged : colours.dimmed;
    if (matches !== null) {
      matchAt = nearAtLeast(matches, matchAt, matches.length, row);
      if (matchAt < matches.length && matches[matchAt] < next) fill = colours.mergedMatch;
    }
    if (marks !== null) {
      markAt = nearAtLeast(marks, markAt, marks.length, row);
      if (markAt < marks.length && marks[markAt] < next) fill = colours.selected;
    }
    // What begins in this pixel may reach into the next.
    const end = Math.max(x + 1, Math.round((rowEnd[next - 1] - from) * scale));
    for (let at = x; at < end && at < line.length; at++) line[at] = fill;
    row = next;
  }
  return painted;
}
