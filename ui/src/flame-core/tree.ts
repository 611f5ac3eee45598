/** Questions about a laid-out tree: neighbours, hit testing, paths, function totals, folded weight. */
import { isLeaf, nameOf, totalOf, type Flame } from './layout.ts';
import { firstAbove } from './sorted.ts';

/** No such node. */
export const NONE = -1;

/** Name that the server gives to weight folded away below its threshold. */
export const FOLDED_NAME = 'other';

/**
 * Node at a level and horizontal position, or `NONE`.
 *
 * `tolerance` is the width of one pixel in the same unit: bars are painted at least that wide.
 */
export function nodeAt(flame: Flame, level: number, position: number, tolerance = 0): number {
  if (level < 0 || level >= flame.depth) return NONE;
  const low = flame.levelOffset[level];
  const after = firstAbove(flame.rowStart, low, flame.levelOffset[level + 1], position);
  if (after === low) return NONE;
  const row = after - 1;
  const width = Math.max(flame.rowEnd[row] - flame.rowStart[row], tolerance);
  return position - flame.rowStart[row] < width ? flame.byLevel[row] : NONE;
}

/** Children of a node, left to right. */
export function childrenOf(flame: Flame, node: number): number[] {
  const children: number[] = [];
  for (let child = node + 1; child < flame.end[node]; child = flame.end[child]) children.push(child);
  return children;
}

/** The child with the largest total, or `NONE`. */
export function heaviestChild(flame: Flame, node: number): number {
  let best = NONE;
  for (let child = node + 1; child < flame.end[node]; child = flame.end[child]) {
    if (best === NONE || flame.total[child] > flame.total[best]) best = child;
  }
  return best;
}

/** Siblings of a node including itself, left to right. */
export function siblingsOf(flame: Flame, node: number): number[] {
  return node === 0 ? [0] : childrenOf(flame, flame.parent[node]);
}

/** Nodes from the root to `node`, both included. */
export function pathTo(flame: Flame, node: number): number[] {
  const path = [node];
  while (node !== 0) path.push((node = flame.parent[node]));
  return path.reverse();
}

/** Stable key of a node: a 64-bit hash of the names on its path, as 16 hexadecimal digits. */
export function pathKey(flame: Flame, node: number): string {
  let high = SEED_HIGH;
  let low = SEED_LOW;
  for (const step of pathTo(flame, node)) {
    const hash = hashText(nameOf(flame, step));
    high = mix(high, hash);
    low = mix(low, hash ^ FLIP);
  }
  return hex(high) + hex(low);
}

/** Finds the node that `pathKey` was made of, or `NONE`. Linear in the number of nodes. */
export function findPath(flame: Flame, key: string): number {
  const nameHashes = Uint32Array.from(flame.names, hashText);
  const high = new Uint32Array(flame.nodeCount);
  const low = new Uint32Array(flame.nodeCount);
  const wantedHigh = Number.parseInt(key.slice(0, 8), 16);
  const wantedLow = Number.parseInt(key.slice(8), 16);
  for (let i = 0; i < flame.nodeCount; i++) {
    const hash = nameHashes[flame.nameIndex[i]];
    high[i] = mix(i === 0 ? SEED_HIGH : high[flame.parent[i]], hash);
    low[i] = mix(i === 0 ? SEED_LOW : low[flame.parent[i]], hash ^ FLIP);
    if (high[i] === wantedHigh && low[i] === wantedLow) return i;
  }
  return NONE;
}

/** FNV-1a over UTF-16 code units, unsigned 32 bits. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/** Self and total per distinct name; a recursive call counts once in the total. Node 0 is left out. */
export function functionTotals(flame: Flame): { self: Float64Array; total: Float64Array } {
  const self = new Float64Array(flame.names.length);
  const total = new Float64Array(flame.names.length);
  const coveredUntil = new Uint32Array(flame.names.length);
  for (let i = 1; i < flame.nodeCount; i++) {
    const name = flame.nameIndex[i];
    self[name] += flame.self[i];
    if (i < coveredUntil[name]) continue;
    coveredUntil[name] = flame.end[i];
    total[name] += flame.total[i];
  }
  return { self, total };
}

/** Whether a node stands for weight folded away: a leaf called `other`, last among its siblings. */
export function isFolded(flame: Flame, node: number): boolean {
  return (
    node !== 0 &&
    isLeaf(flame, node) &&
    flame.end[node] === flame.end[flame.parent[node]] &&
    nameOf(flame, node) === FOLDED_NAME
  );
}

/** Share of the total (0 to 1) that is folded away. */
export function foldedShare(flame: Flame): number {
  const folded = flame.names.indexOf(FOLDED_NAME);
  if (folded < 0 || totalOf(flame) === 0) return 0;
  let weight = 0;
  for (let i = 1; i < flame.nodeCount; i++) {
    if (flame.nameIndex[i] === folded && isFolded(flame, i)) weight += flame.total[i];
  }
  return weight / totalOf(flame);
}

const SEED_HIGH = 0x9747b28c;
const SEED_LOW = 0x3c6ef372;
const FLIP = 0x5bd1e995;

/** One round of the MurmurHash3 mixer. */
function mix(state: number, value: number): number {
  let k = Math.imul(value, 0xcc9e2d51);
  k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
  const h = state ^ k;
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) >>> 0;
}

function hex(value: number): string {
  return value.toString(16).padStart(8, '0');
}
