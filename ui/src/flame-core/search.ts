/** Search: first over the distinct names, then over the nodes that carry them. */
import { totalOf, type Flame } from './layout.ts';
import { firstAtLeast } from './sorted.ts';

/** A compiled query. */
export interface Query {
  matches(name: string): boolean;
}

/** Result of compiling what a user typed. */
export type CompiledQuery = { query: Query } | { error: string } | null;

/** Compiles a search; null if the text is empty. Case does not matter unless the text has capitals. */
export function compileQuery(text: string, isRegex: boolean): CompiledQuery {
  if (text === '') return null;
  const exactCase = text !== text.toLowerCase() && !isRegex;
  if (!isRegex) {
    const needle = exactCase ? text : text.toLowerCase();
    return { query: { matches: (name) => (exactCase ? name : name.toLowerCase()).includes(needle) } };
  }
  try {
    const pattern = new RegExp(text, 'i');
    return { query: { matches: (name) => pattern.test(name) } };
  } catch (error) {
    return { error: (error as Error).message };
  }
}

/**
 * A set of nodes given by their names.
 *
 * `nameMask` has one byte per distinct name; `rows` are positions in `Flame.byLevel`, ascending, so
 * that "is there one between these two bars" is a binary search.
 */
export interface NodeSet {
  readonly nameMask: Uint8Array;
  readonly rows: Uint32Array;
}

/** All nodes whose name satisfies `query`; the root is never among them. */
export function findNodes(flame: Flame, query: Query): NodeSet {
  const nameMask = new Uint8Array(flame.names.length);
  for (let i = 0; i < nameMask.length; i++) nameMask[i] = query.matches(flame.names[i]) ? 1 : 0;
  return nodesWithNames(flame, nameMask);
}

/** All nodes of one function; the root is never among them. */
export function nodesNamed(flame: Flame, name: string): NodeSet {
  return nodesWithNames(flame, Uint8Array.from(flame.names, (candidate) => (candidate === name ? 1 : 0)));
}

/** All nodes with a name in the mask; the root is never among them. */
export function nodesWithNames(flame: Flame, nameMask: Uint8Array): NodeSet {
  const rows = new Uint32Array(flame.nodeCount);
  let count = 0;
  for (let row = 1; row < flame.nodeCount; row++) {
    if (nameMask[flame.nameIndex[flame.byLevel[row]]]) rows[count++] = row;
  }
  return { nameMask, rows: rows.slice(0, count) };
}

/** Whether a row of the half-open range is in the set. */
export function anyBetween(set: NodeSet, low: number, high: number): boolean {
  const at = firstAtLeast(set.rows, 0, set.rows.length, low);
  return at < set.rows.length && set.rows[at] < high;
}

/** Weight under the topmost nodes of the set, so nothing is counted twice; and its share (0 to 1). */
export function weightOf(flame: Flame, set: NodeSet): { weight: number; share: number } {
  let weight = 0;
  let node = 1;
  while (node < flame.nodeCount) {
    const hit = set.nameMask[flame.nameIndex[node]] === 1;
    if (hit) weight += flame.total[node];
    node = hit ? flame.end[node] : node + 1;
  }
  const total = totalOf(flame);
  return { weight, share: total === 0 ? 0 : weight / total };
}

/** The node of the set with the largest total, or -1. */
export function heaviestOf(flame: Flame, set: NodeSet): number {
  let best = -1;
  for (const row of set.rows) {
    const node = flame.byLevel[row];
    if (best < 0 || flame.total[node] > flame.total[best]) best = node;
  }
  return best;
}

/** The next node of the set after (`step` 1) or before (`step` -1) `from` in pre-order, wrapping around. */
export function nextMatch(flame: Flame, set: NodeSet, from: number, step: 1 | -1): number {
  for (let i = 1; i <= flame.nodeCount; i++) {
    const node = (((from + step * i) % flame.nodeCount) + flame.nodeCount) % flame.nodeCount;
    if (node !== 0 && set.nameMask[flame.nameIndex[node]]) return node;
  }
  return -1;
}
