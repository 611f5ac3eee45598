/** Turns decoded columns into everything that drawing, hit testing and searching need. */
import type { FlameData } from './decode.ts';

/**
 * A laid-out call tree, 52 bytes per node.
 *
 * Shape: `nameIndex` to `end` have one entry per node, nodes in pre-order; `end` is one past the last node
 * of the subtree. `byLevel`, `rowStart` and `rowEnd` have one entry per row: the same nodes sorted by level,
 * then from left to right, so that what is drawn side by side lies side by side in memory.
 * Units: `self`, `total`, `rowStart` and `rowEnd` are in the profile type's unit. A node covers
 * `[rowStart, rowEnd)` on the horizontal axis, its children are packed to the left, and its self weight is
 * what is left over on the right.
 */
export interface Flame {
  readonly names: readonly string[];
  readonly nodeCount: number;
  /** Number of levels; 0 for an empty tree. */
  readonly depth: number;
  readonly nameIndex: Uint32Array;
  readonly self: Float64Array;
  readonly total: Float64Array;
  readonly level: Uint32Array;
  readonly parent: Uint32Array;
  readonly end: Uint32Array;
  readonly byLevel: Uint32Array;
  readonly rowStart: Float64Array;
  readonly rowEnd: Float64Array;
  /** Rows that belong to level `l`: `levelOffset[l]` to `levelOffset[l + 1]`. */
  readonly levelOffset: Uint32Array;
}

/** Weight of the whole tree. */
export function totalOf(flame: Flame): number {
  return flame.nodeCount === 0 ? 0 : flame.total[0];
}

/** Name of a node. */
export function nameOf(flame: Flame, node: number): string {
  return flame.names[flame.nameIndex[node]];
}

/** Row of a node: nodes of a level are in pre-order, so it is a binary search. */
export function rowOf(flame: Flame, node: number): number {
  const level = flame.level[node];
  let low = flame.levelOffset[level];
  let high = flame.levelOffset[level + 1];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (flame.byLevel[middle] >= node) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Where a node begins on the horizontal axis. */
export function startOf(flame: Flame, node: number): number {
  return flame.rowStart[rowOf(flame, node)];
}

/** Whether a node calls nothing. */
export function isLeaf(flame: Flame, node: number): boolean {
  return flame.end[node] === node + 1;
}

/** Lays out a tree in linear passes; no recursion, so any depth is fine. */
export function layoutFlame({ names, childCount, nameIndex, self }: FlameData): Flame {
  const nodeCount = childCount.length;
  const { parent, level, depth } = parentsAndLevels(childCount);
  const { total, end } = totalsAndEnds(self, parent);
  const { byLevel, levelOffset } = groupByLevel(level, depth);
  const { rowStart, rowEnd } = positions(total, parent, byLevel);
  return { names, nodeCount, depth, nameIndex, self, total, level, parent, end, byLevel, rowStart, rowEnd, levelOffset };
}

function parentsAndLevels(childCount: Uint32Array) {
  const nodeCount = childCount.length;
  const parent = new Uint32Array(nodeCount);
  const level = new Uint32Array(nodeCount);
  const pending = childCount.slice();
  let depth = nodeCount === 0 ? 0 : 1;
  let open = 0;
  for (let i = 1; i < nodeCount; i++) {
    while (pending[open] === 0) open = parent[open];
    pending[open]--;
    parent[i] = open;
    level[i] = level[open] + 1;
    if (level[i] >= depth) depth = level[i] + 1;
    open = i;
  }
  return { parent, level, depth };
}

function totalsAndEnds(self: Float64Array, parent: Uint32Array) {
  const nodeCount = self.length;
  const total = self.slice();
  const end = new Uint32Array(nodeCount);
  for (let i = nodeCount - 1; i >= 0; i--) {
    if (end[i] === 0) end[i] = i + 1;
    if (i === 0) break;
    const up = parent[i];
    total[up] += total[i];
    if (end[up] < end[i]) end[up] = end[i];
  }
  return { total, end };
}

function positions(total: Float64Array, parent: Uint32Array, byLevel: Uint32Array) {
  const nodeCount = total.length;
  const start = new Float64Array(nodeCount);
  const nextChild = new Float64Array(nodeCount);
  for (let i = 1; i < nodeCount; i++) {
    const up = parent[i];
    start[i] = nextChild[up];
    nextChild[i] = start[i];
    nextChild[up] += total[i];
  }
  const rowStart = nextChild;
  const rowEnd = new Float64Array(nodeCount);
  for (let row = 0; row < nodeCount; row++) {
    const node = byLevel[row];
    rowStart[row] = start[node];
    rowEnd[row] = start[node] + total[node];
  }
  return { rowStart, rowEnd };
}

function groupByLevel(level: Uint32Array, depth: number) {
  const levelOffset = new Uint32Array(depth + 1);
  for (let i = 0; i < level.length; i++) levelOffset[level[i] + 1]++;
  for (let l = 0; l < depth; l++) levelOffset[l + 1] += levelOffset[l];
  const next = levelOffset.slice();
  const byLevel = new Uint32Array(level.length);
  for (let i = 0; i < level.length; i++) byLevel[next[level[i]]++] = i;
  return { byLevel, levelOffset };
}
