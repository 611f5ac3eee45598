/**
 * The usual way to draw a flame graph on a canvas, for comparison: an object per node, a queue, a path with
 * fill and stroke per bar, narrow bars in one grey path, and a canvas as tall as the stack.
 */
import { nameOf, startOf, type Flame } from '../src/flame-core/layout.ts';

interface ObjectNode {
  name: string;
  start: number;
  value: number;
  level: number;
  colour: string;
  children: ObjectNode[];
}

const ROW_HEIGHT = 22;
const LABEL_WIDTH = 20;
const MUTED_WIDTH = 10;
const HIDDEN_WIDTH = 0.5;

/** Builds the objects. */
export function objectTree(flame: Flame): ObjectNode {
  const nodes: ObjectNode[] = [];
  for (let i = 0; i < flame.nodeCount; i++) {
    const hue = (flame.nameIndex[i] * 7) % 360;
    const node = { name: nameOf(flame, i), start: startOf(flame, i), value: flame.total[i], level: flame.level[i], children: [] };
    nodes.push({ ...node, colour: `hsl(${hue} 50% 60%)` });
    if (i > 0) nodes[flame.parent[i]].children.push(nodes[i]);
  }
  return nodes[0];
}

/** Paints the range `[from, to)`; returns how many bars that took. */
export function drawObjects(context: CanvasRenderingContext2D, root: ObjectNode, width: number, from: number, to: number): number {
  const scale = width / (to - from);
  const muted = new Path2D();
  const queue = [root];
  let painted = 0;
  context.clearRect(0, 0, width, context.canvas.height);
  context.font = '12px monospace';
  context.strokeStyle = 'white';
  context.lineWidth = 0.5;
  while (queue.length > 0) {
    const node = queue.shift()!;
    const left = (node.start - from) * scale;
    const barWidth = node.value * scale;
    if (barWidth < HIDDEN_WIDTH || left > width || left + barWidth < 0) continue;
    queue.push(...node.children);
    painted++;
    const y = node.level * ROW_HEIGHT;
    if (barWidth < MUTED_WIDTH) {
      muted.rect(left, y, barWidth, ROW_HEIGHT);
      continue;
    }
    context.beginPath();
    context.rect(left, y, barWidth, ROW_HEIGHT);
    context.fillStyle = node.colour;
    context.fill();
    context.stroke();
    if (barWidth >= LABEL_WIDTH) drawName(context, node.name, Math.max(0, left), y, barWidth);
  }
  context.fillStyle = '#888888';
  context.fill(muted);
  return painted;
}

function drawName(context: CanvasRenderingContext2D, name: string, left: number, y: number, width: number): void {
  context.save();
  context.beginPath();
  context.rect(left, y, width, ROW_HEIGHT);
  context.clip();
  context.fillStyle = '#222222';
  if (context.measureText(name).width > 0) context.fillText(name, left + 4, y + 15);
  context.restore();
}
