/**
 * What assistive technology sees of the graph: a hidden list of tree items around the focused node
 * (its parent, siblings and children), at most 50, owned by the canvas.
 */
import { isLeaf, nameOf, totalOf, type Flame } from './layout.ts';
import { childrenOf, NONE, siblingsOf } from './tree.ts';

const MAX_ITEMS = 50;

/** The sentence that is spoken for a node. */
export function describeNode(flame: Flame, node: number): string {
  const siblings = siblingsOf(flame, node);
  const whole = totalOf(flame) || 1;
  const place = node === 0 ? 'root' : `child ${siblings.indexOf(node) + 1} of ${siblings.length}`;
  const total = percent(flame.total[node] / whole);
  const self = percent(flame.self[node] / whole);
  return `${nameOf(flame, node)}, ${total} total, ${self} self, level ${flame.level[node] + 1}, ${place}`;
}

/** Nodes to expose when `focus` is focused, in reading order. */
export function nodesAround(flame: Flame, focus: number): number[] {
  const parent = focus === 0 ? [] : [flame.parent[focus]];
  const siblings = siblingsOf(flame, focus);
  const at = siblings.indexOf(focus);
  const near = siblings.slice(Math.max(0, at - 12), at + 13);
  return [...parent, ...near, ...childrenOf(flame, focus)].slice(0, MAX_ITEMS);
}

/** Rebuilds the hidden list and points the canvas at the focused item. */
export function renderTreeView(list: HTMLElement, canvas: HTMLElement, flame: Flame | null, focus: number): void {
  list.replaceChildren();
  if (flame === null || flame.nodeCount === 0) {
    canvas.removeAttribute('aria-activedescendant');
    return;
  }
  const focused = focus === NONE ? 0 : focus;
  for (const node of nodesAround(flame, focused)) list.append(treeItem(list.id, flame, node, node === focused));
  canvas.setAttribute('aria-activedescendant', itemId(list.id, focused));
}

function treeItem(prefix: string, flame: Flame, node: number, selected: boolean): HTMLElement {
  const item = document.createElement('div');
  const siblings = siblingsOf(flame, node);
  item.id = itemId(prefix, node);
  item.setAttribute('role', 'treeitem');
  item.setAttribute('aria-level', String(flame.level[node] + 1));
  item.setAttribute('aria-posinset', String(siblings.indexOf(node) + 1));
  item.setAttribute('aria-setsize', String(siblings.length));
  item.setAttribute('aria-selected', String(selected));
  if (!isLeaf(flame, node)) item.setAttribute('aria-expanded', 'true');
  item.textContent = describeNode(flame, node);
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
