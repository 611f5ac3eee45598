/**
 * Other trees made of a tree: with recursion collapsed, of what a function calls, of what calls a function.
 *
 * All keep the table of names, so that name indexes and palette slots stay valid. No recursion in here
 * either: groups of nodes that become one wait on a stack in flat memory.
 */
import type { FlameData } from './decode.ts';
import type { Flame } from './layout.ts';
import { FOLDED_NAME } from './tree.ts';

/** One change of a tree. Plain data, so that it can be sent to a worker. */
export type Step =
  | { readonly kind: 'collapse' }
  | { readonly kind: 'callees'; readonly of: string }
  | { readonly kind: 'callers'; readonly of: string };

/** The columns of the tree after a step. */
export function applyStep(flame: Flame, step: Step): FlameData {
  switch (step.kind) {
    case 'collapse':
      return collapseRecursion(flame);
    case 'callees':
      return calleesOf(flame, step.of);
    case 'callers':
      return callersOf(flame, step.of);
  }
}

/** The columns that a tree was laid out from. */
export function dataOf(flame: Flame): FlameData {
  const childCount = new Uint32Array(flame.nodeCount);
  for (let i = 1; i < flame.nodeCount; i++) childCount[flame.parent[i]]++;
  return { names: flame.names as string[], childCount, nameIndex: flame.nameIndex, self: flame.self };
}

/** Functions that call themselves directly become one node with the weight of all its calls. */
export function collapseRecursion(flame: Flame): FlameData {
  if (flame.nodeCount === 0) return dataOf(flame);
  const roots = new Members();
  roots.add(0, 0);
  return regroup(flame, flame.nameIndex[0], roots, (group, name, children) => {
    let self = 0;
    for (let at = 0; at < group.count; at++) {
      const node = group.node[at];
      self += flame.self[node];
      for (let child = node + 1; child < flame.end[node]; child = flame.end[child]) {
        // A call of the same function joins the group, so that its own children are looked at here too.
        (flame.nameIndex[child] === name && node !== 0 ? group : children).add(child, 0);
      }
    }
    return self;
  });
}

/** What a function calls, over all places where it is called; the function is the root. Empty if it is not there. */
export function calleesOf(flame: Flame, name: string): FlameData {
  return regroup(flame, flame.names.indexOf(name), outermost(flame, name), (group, _name, children) => {
    let self = 0;
    for (let at = 0; at < group.count; at++) {
      const node = group.node[at];
      self += flame.self[node];
      for (let child = node + 1; child < flame.end[node]; child = flame.end[child]) children.add(child, 0);
    }
    return self;
  });
}

/** What calls a function, by weight of the calls; the function is the root, its callers hang from it. */
export function callersOf(flame: Flame, name: string): FlameData {
  return regroup(flame, flame.names.indexOf(name), outermost(flame, name), (group, _name, callers) => {
    let uncalled = 0;
    for (let at = 0; at < group.count; at++) {
      const caller = flame.parent[group.node[at]];
      if (caller === 0) uncalled += group.weight[at];
      else callers.add(caller, group.weight[at]);
    }
    return uncalled;
  });
}

/** Nodes of a function that are not called by itself, directly or not: their weights do not overlap. */
function outermost(flame: Flame, name: string): Members {
  const members = new Members();
  const index = flame.names.indexOf(name);
  for (let node = 1; node < flame.nodeCount; ) {
    const hit = flame.nameIndex[node] === index;
    if (hit) members.add(node, flame.total[node]);
    node = hit ? flame.end[node] : node + 1;
  }
  return members;
}

/** Nodes of the old tree, each with a weight that goes along with it. */
class Members {
  count = 0;
  node = new Uint32Array(64);
  weight = new Float64Array(64);

  add(node: number, weight: number): void {
    if (this.count === this.node.length) {
      const [nodes, weights] = [new Uint32Array(this.count * 2), new Float64Array(this.count * 2)];
      nodes.set(this.node);
      weights.set(this.weight);
      this.node = nodes;
      this.weight = weights;
    }
    this.node[this.count] = node;
    this.weight[this.count++] = weight;
  }
}

/** Adds the members of the next level to `next`, may add to `group`; returns the self weight of the group. */
type Expand = (group: Members, name: number, next: Members) => number;

/**
 * Builds a tree in which every node stands for a group of nodes of the old tree; what `expand` gives for a
 * group is split by name into the groups of its children.
 */
function regroup(flame: Flame, rootName: number, roots: Members, expand: Expand): FlameData {
  const out = new Columns();
  const waiting = new Members();
  const groupStart: number[] = [];
  const rankOfName = ranks(flame.names);
  if (roots.count > 0) {
    groupStart.push(0);
    for (let i = 0; i < roots.count; i++) waiting.add(roots.node[i], roots.weight[i]);
  }
  const group = new Members();
  const next = new Members();
  for (let start = groupStart.pop(); start !== undefined; start = groupStart.pop()) {
    group.count = 0;
    next.count = 0;
    for (let i = start; i < waiting.count; i++) group.add(waiting.node[i], waiting.weight[i]);
    waiting.count = start;
    const name = out.count === 0 ? rootName : flame.nameIndex[group.node[0]];
    const self = expand(group, name, next);
    const order = orderByName(flame, next, rankOfName);
    let children = 0;
    let last = -1;
    // The last child goes first, so that the first is taken off the stack first.
    for (let i = order.length - 1; i >= 0; i--) {
      const node = next.node[order[i]];
      if (flame.nameIndex[node] !== last) {
        last = flame.nameIndex[node];
        groupStart.push(waiting.count);
        children++;
      }
      waiting.add(node, next.weight[order[i]]);
    }
    out.add(name, children, self);
  }
  return out.data(flame.names);
}

/** Positions of the members, sorted by name as the server sorts children; members that are sorted already stay. */
function orderByName(flame: Flame, members: Members, rankOfName: () => Uint32Array): Uint32Array {
  const order = new Uint32Array(members.count);
  for (let i = 0; i < order.length; i++) order[i] = i;
  if (order.length < 2) return order;
  const rank = rankOfName();
  const rankAt = (i: number) => rank[flame.nameIndex[members.node[i]]];
  let sorted = true;
  for (let i = 1; sorted && i < order.length; i++) sorted = rankAt(i - 1) <= rankAt(i);
  return sorted ? order : order.sort((a, b) => rankAt(a) - rankAt(b) || a - b);
}

/** Place of every name among all names; weight that was folded away comes last. */
function ranks(names: readonly string[]): () => Uint32Array {
  let rank: Uint32Array | null = null;
  return () => {
    if (rank !== null) return rank;
    const sorted = Uint32Array.from(names, (_, i) => i).sort((a, b) => (names[a] < names[b] ? -1 : 1));
    rank = new Uint32Array(names.length);
    for (let place = 0; place < sorted.length; place++) rank[sorted[place]] = place;
    const folded = names.indexOf(FOLDED_NAME);
    if (folded >= 0) rank[folded] = names.length;
    return rank;
  };
}

/** The columns of a tree that grows. */
class Columns {
  count = 0;
  private childCount = new Uint32Array(1024);
  private nameIndex = new Uint32Array(1024);
  private self = new Float64Array(1024);

  add(name: number, children: number, self: number): void {
    if (this.count === this.self.length) this.resize(this.count * 2);
    this.childCount[this.count] = children;
    this.nameIndex[this.count] = name;
    this.self[this.count++] = self;
  }

  data(names: readonly string[]): FlameData {
    this.resize(this.count);
    return { names: names as string[], childCount: this.childCount, nameIndex: this.nameIndex, self: this.self };
  }

  private resize(length: number): void {
    const { childCount, nameIndex, self } = this;
    this.childCount = new Uint32Array(length);
    this.nameIndex = new Uint32Array(length);
    this.self = new Float64Array(length);
    this.childCount.set(childCount.subarray(0, this.count));
    this.nameIndex.set(nameIndex.subarray(0, this.count));
    this.self.set(self.subarray(0, this.count));
  }
}
