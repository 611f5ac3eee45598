/** The visible horizontal range, in the profile's unit, and how it moves. */
import { startOf, totalOf, type Flame } from './layout.ts';

/** Half-open visible range `[from, to)`. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** Smallest visible share of the total. */
const DEEPEST_ZOOM = 1e-12;

/** The range that shows everything. */
export function fullRange(flame: Flame): Range {
  return { from: 0, to: totalOf(flame) || 1 };
}

/** The range that a node covers. A node without weight keeps its parent's range. */
export function rangeOf(flame: Flame, node: number): Range {
  while (node !== 0 && flame.total[node] === 0) node = flame.parent[node];
  if (node === 0) return fullRange(flame);
  const from = startOf(flame, node);
  return { from, to: from + flame.total[node] };
}

/** Moves and shrinks a range so that it lies within the tree. */
export function clampRange(flame: Flame, range: Range): Range {
  const full = fullRange(flame);
  const width = Math.min(full.to, Math.max(range.to - range.from, full.to * DEEPEST_ZOOM));
  const from = Math.min(Math.max(0, range.from), full.to - width);
  return { from, to: from + width };
}

/** Scales a range by `factor` (below 1 zooms in), keeping the point at share `anchor` where it is. */
export function scaleRange(flame: Flame, range: Range, factor: number, anchor: number): Range {
  const width = range.to - range.from;
  const pivot = range.from + width * anchor;
  return clampRange(flame, { from: pivot - width * factor * anchor, to: pivot + width * factor * (1 - anchor) });
}

/** Shifts a range by a share of its width. */
export function panRange(flame: Flame, range: Range, share: number): Range {
  const shift = (range.to - range.from) * share;
  return clampRange(flame, { from: range.from + shift, to: range.to + shift });
}

/** Whether two ranges are the same to well below a pixel. */
export function sameRange(a: Range, b: Range): boolean {
  const tolerance = (b.to - b.from) * 1e-6;
  return Math.abs(a.from - b.from) <= tolerance && Math.abs(a.to - b.to) <= tolerance;
}

/** Point `t` (0 to 1) of the way between two ranges; the width changes geometrically, so speed looks even. */
export function betweenRanges(a: Range, b: Range, t: number): Range {
  if (t >= 1) return b;
  const eased = 1 - (1 - t) ** 3;
  const widthA = a.to - a.from;
  const widthB = b.to - b.from;
  if (Math.abs(widthA - widthB) <= widthB * 1e-9) {
    const from = a.from + (b.from - a.from) * eased;
    return { from, to: from + widthB };
  }
  const width = widthA * (widthB / widthA) ** eased;
  const from = a.from + ((b.from - a.from) * (width - widthA)) / (widthB - widthA);
  return { from, to: from + width };
}
