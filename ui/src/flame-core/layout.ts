/** Turns decoded columns into everything that drawing, hit testing and searching need. */
import type { FlameData } from './decode.ts';

/**
 * A laid-out call tree. All columns have one row per node, nodes in pre-order.
 *
 * `start`, `total` and `self` are in the profile type's unit; a node covers `[start, start + total)`
 * on the horizontal axis, its children are packed to the left, and its self weight is what is left
 * over on the right. `end` is one past the last node of the subtree.
 */
export interface Flame {
  readonly names: readonly string[];
  readonly nodeCount: number;
  /** Number of levels; 0 for an empty tree. */
  readonly depth: number;
  readonly childCount: Uint32Array;
  readonly nameIndex: Uint32Array;
  readonly self: Float64Array;
  readonly total: Float64Array;
  readonly start: Float64Array;
  readonly level: Uint32Array;
  readonly parent: Uint32Array;
  readonly end: Uint32Array;
  /** Node ids sorted by level, then by `start`. */
  readonly byLevel: Uint32Array;
  /** Rows of `byLevel` that belong to level `l`: `levelOffset[l]` to `levelOffset[l + 1]`. */
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

/** Lays out a tree in five linear passes; no recursion, so any depth is fine. */
export function layoutFlame(data: FlameData): Flame {
  const nodeCount = data.childCount.length;
  const { parent, level, depth } = parentsAndLevels(data.childCount);
  const { total, end } = totalsAndEnds(data.self, parent);
  const start = starts(total, parent);
  const { byLevel, levelOffset } = groupByLevel(level, depth);
  return { ...data, nodeCount, depth, parent, level, total, end, start, byLevel, levelOffset };
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

function starts(total: Float64Array, parent: Uint32Array): Float64Array {
  const nodeCount = total.length;
  const start = new Float64Array(nodeCount);
  const nextChild = new Float64Array(nodeCount);
  for (let i = 1; i < nodeCount; i++) {
    const up = parent[i];
    start[i] = nextChild[up];
    nextChild[i] = start[i];
    nextChild[up] += total[i];
  }
  return start;
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
