/**
 * What assistive technology sees of the graph: a hidden list of tree items around the focused node
 * (its parent, siblings and children), at most 50, owned by the canvas.
 */
import { isLeaf, nameOf, totalOf, type Flame } from './layout.ts';
import { childrenOf, NONE, siblingsOf } from './tree.ts';

const MAX_ITEMS = 50;

/** A node among its siblings. */
interface Placed {
  node: number;
  /** Position from 0, and how many siblings there are. */
  at: number;
  of: number;
}

/** The sentence that is spoken for a node. */
export function describeNode(flame: Flame, node: number): string {
  const siblings = siblingsOf(flame, node);
  return describe(flame, { node, at: siblings.indexOf(node), of: siblings.length });
}

function describe(flame: Flame, { node, at, of }: Placed): string {
  const whole = totalOf(flame) || 1;
  const place = node === 0 ? 'root' : `child ${at + 1} of ${of}`;
  const total = percent(flame.total[node] / whole);
  const self = percent(flame.self[node] / whole);
  return `${nameOf(flame, node)}, ${total} total, ${self} self, level ${flame.level[node] + 1}, ${place}`;
}

/** Nodes to expose when `focus` is focused, in reading order. */
export function nodesAround(flame: Flame, focus: number): Placed[] {
  const parent = focus === 0 ? [] : placed(siblingsOf(flame, flame.parent[focus]), flame.parent[focus], 0);
  return [...parent, ...placed(siblingsOf(flame, focus), focus, 12), ...placed(childrenOf(flame, focus), NONE, MAX_ITEMS)].slice(0, MAX_ITEMS);
}

/** A node with up to `near` siblings on both sides; the first ones if the node is not among them. */
function placed(siblings: number[], node: number, near: number): Placed[] {
  const at = siblings.indexOf(node);
  const first = Math.max(0, at - near);
  return siblings.slice(first, Math.max(0, at) + near + 1).map((sibling, i) => ({ node: sibling, at: first + i, of: siblings.length }));
}

/** Rebuilds the hidden list and points the canvas at the focused item. */
export function renderTreeView(list: HTMLElement, canvas: HTMLElement, flame: Flame | null, focus: number): void {
  list.replaceChildren();
  if (flame === null || flame.nodeCount === 0) {
    canvas.removeAttribute('aria-activedescendant');
    return;
  }
  const focused = focus === NONE ? 0 : focus;
  for (const item of nodesAround(flame, focused)) list.append(treeItem(list.id, flame, item, item.node === focused));
  canvas.setAttribute('aria-activedescendant', itemId(list.id, focused));
}

function treeItem(prefix: string, flame: Flame, of: Placed, selected: boolean): HTMLElement {
  const item = document.createElement('div');
  const { node } = of;
  item.id = itemId(prefix, node);
  item.setAttribute('role', 'treeitem');
  item.setAttribute('aria-level', String(flame.level[node] + 1));
  item.setAttribute('aria-posinset', String(of.at + 1));
  item.setAttribute('aria-setsize', String(of.of));
  item.setAttribute('aria-selected', String(selected));
  if (!isLeaf(flame, node)) item.setAttribute('aria-expanded', 'true');
  item.textContent = describe(flame, of);
  return item;
}

function itemId(prefix: string, node: number): string {
  return `${prefix}-${node}`;
}

function percent(share: number): string {
  const value = share * 100;
  if (value > 0 && value < 0.1) return 'under 0.1 %';
  return `${Number(value.toFixed(1))} %`;
}
