/** Stacks to a flame graph as the product's server makes it: sorted children, light stacks folded. */
import type { FlameData } from '../src/flame-core/decode.ts';

export interface Stack {
  /** Root first. */
  frames: string[];
  value: number;
}

interface Node {
  self: number;
  total: number;
  children: Map<string, Node>;
}

/** Merges stacks; nodes lighter than the `maxNodes`-th heaviest become `other`. */
export function treeOf(stacks: readonly Stack[], maxNodes: number): FlameData {
  const root = newNode();
  for (const { frames, value } of stacks) {
    let node = root;
    node.total += value;
    for (const frame of frames) {
      let child = node.children.get(frame);
      if (child === undefined) node.children.set(frame, (child = newNode()));
      child.total += value;
      node = child;
    }
    node.self += value;
  }
  return columnsOf(root, thresholdOf(root, maxNodes));
}

function newNode(): Node {
  return { self: 0, total: 0, children: new Map() };
}

function thresholdOf(root: Node, maxNodes: number): number {
  const totals: number[] = [];
  const pending = [root];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    totals.push(node.total);
    pending.push(...node.children.values());
  }
  if (totals.length <= maxNodes) return 0;
  return totals.sort((a, b) => b - a)[maxNodes - 1];
}

function columnsOf(root: Node, threshold: number): FlameData {
  const names: string[] = [];
  const indexes = new Map<string, number>();
  const childCount: number[] = [];
  const nameIndex: number[] = [];
  const self: number[] = [];
  const pending: [string, Node][] = [['total', root]];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const [name, node] = next;
    const children = keptChildren(node, threshold);
    if (!indexes.has(name)) indexes.set(name, names.push(name) - 1);
    nameIndex.push(indexes.get(name)!);
    childCount.push(children.length);
    self.push(Math.round(node.self));
    pending.push(...children.reverse());
  }
  return {
    names,
    childCount: Uint32Array.from(childCount),
    nameIndex: Uint32Array.from(nameIndex),
    self: Float64Array.from(self),
  };
}

function keptChildren(node: Node, threshold: number): [string, Node][] {
  const sorted = [...node.children].sort(([a], [b]) => (a < b ? -1 : 1));
  const kept = sorted.filter(([, child]) => child.total >= threshold);
  const folded = node.total - node.self - kept.reduce((sum, [, child]) => sum + child.total, 0);
  if (folded > 0) kept.push(['other', { self: folded, total: folded, children: new Map() }]);
  return kept;
}
