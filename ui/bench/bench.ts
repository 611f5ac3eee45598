/** Measures the engine in a browser. `bench/run.mjs` calls `measure` and prints what it returns. */
import { colourSlots, darkPalette } from '../src/flame-core/colour.ts';
import { decodeFlame, type FlameData } from '../src/flame-core/decode.ts';
import { contextOf, Painter } from '../src/flame-core/draw.ts';
import { encodeFlame } from '../src/flame-core/encode.ts';
import { LabelTexts } from '../src/flame-core/labels.ts';
import { layoutFlame, type Flame } from '../src/flame-core/layout.ts';
import { fullRange, type Range } from '../src/flame-core/range.ts';
import type { Scene } from '../src/flame-core/scene.ts';
import { compileQuery, findNodes, type NodeSet, type Query } from '../src/flame-core/search.ts';
import { nodeAt, NONE } from '../src/flame-core/tree.ts';
import { generator } from '../dev/random.ts';
import { drawObjects, objectTree } from './object-tree.ts';

/** Times of frames in milliseconds. */
interface Frames {
  p50: number;
  p95: number;
  max: number;
}

/** Times are in milliseconds, hit tests in microseconds, sizes in bytes. */
export interface Measurement {
  nodes: number;
  levels: number;
  decode: number;
  layout: number;
  frames: Frames;
  /** With a search that matches a tenth of the names. */
  searching: Frames;
  /** Drawn from an object per node; null where that was left out. */
  objects: Frames | null;
  painted: number;
  labels: number;
  hit: number;
  /** Median of nine regular expressions. */
  search: number;
  memory: number;
  wire: number;
  gzip: number;
}

const WIDTH = 1600;
const HEIGHT = 900;
const FRAMES = 120;
const DISTINCT_NAMES = 40_000;
const HEAVIEST = 20_000;
/** Beyond this, an object per node takes gigabytes. */
const MOST_OBJECTS = 1_000_000;

async function measure(nodes: number): Promise<Measurement> {
  const bytes = encodeFlame(randomTree(nodes));
  const [data, decode] = timed(() => decodeFlame(bytes));
  const [flame, layout] = timed(() => layoutFlame(data));
  const searches = Array.from({ length: 9 }, (_, digit) => timed(() => findNodes(flame, regex(`handle.*${digit}$`))));
  const found = searches[7][0];
  const search = searches.map(([, time]) => time).sort((a, b) => a - b)[4];
  const plain = columnFrames(flame, null);
  const searching = columnFrames(flame, found);
  return {
    nodes: flame.nodeCount,
    levels: flame.depth,
    decode,
    layout,
    frames: plain.frames,
    searching: searching.frames,
    objects: nodes > MOST_OBJECTS ? null : objectFrames(flame),
    painted: plain.painted,
    labels: plain.labels,
    hit: hitTest(flame),
    search,
    memory: Object.values(flame).reduce((sum, column) => sum + (ArrayBuffer.isView(column) ? column.byteLength : 0), 0),
    wire: bytes.length,
    gzip: await gzipSize(bytes),
  };
}

function regex(text: string): Query {
  const compiled = compileQuery(text, true);
  if (compiled === null || 'error' in compiled) throw new Error(`not a query: ${text}`);
  return compiled.query;
}

/** Frames of our engine; also what the first of them took. */
function columnFrames(flame: Flame, search: NodeSet | null): { frames: Frames; painted: number; labels: number } {
  const context = canvasOf(HEIGHT);
  const painter = new Painter(context);
  const still: Omit<Scene, 'range' | 'scrollTop'> = {
    flame,
    width: WIDTH,
    height: HEIGHT,
    pixelRatio: 1,
    orientation: 'icicle',
    palette: darkPalette,
    slots: colourSlots(flame.names, 'package'),
    labels: new LabelTexts(flame.names),
    font: '12px monospace',
    glyphWidth: 7.2,
    search,
    selected: null,
    focus: NONE,
    hover: NONE,
    brush: null,
  };
  let painted = 0;
  const frames = timeFrames(context, flame, (range, scrollTop) => {
    const count = painter.draw({ ...still, range, scrollTop });
    if (painted === 0) painted = count;
  });
  return { frames, painted, labels: countLabels(context, () => painter.draw({ ...still, range: fullRange(flame), scrollTop: 0 })) };
}

function objectFrames(flame: Flame): Frames {
  const root = objectTree(flame);
  const context = canvasOf(flame.depth * 22);
  return timeFrames(context, flame, (range) => drawObjects(context, root, WIDTH, range.from, range.to));
}

/** Zooms in, pans and scrolls; reads a pixel back after every frame so that painting is really done. */
function timeFrames(context: CanvasRenderingContext2D, flame: Flame, draw: (range: Range, scrollTop: number) => void): Frames {
  const whole = fullRange(flame).to;
  const times: number[] = [];
  for (let frame = 0; frame < FRAMES; frame++) {
    const width = whole * 0.92 ** (frame % 60);
    const from = (whole - width) * 0.4;
    const [, time] = timed(() => {
      draw({ from, to: from + width }, frame < 60 ? 0 : (frame - 60) * 8);
      context.getImageData(frame, 0, 1, 1);
    });
    times.push(time);
  }
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.min(FRAMES - 1, Math.floor(FRAMES * share))];
  return { p50: at(0.5), p95: at(0.95), max: at(1) };
}

/** A fresh canvas, so that no measurement inherits what the browser decided for the last one. */
function canvasOf(height: number): CanvasRenderingContext2D {
  const canvas = document.createElement('canvas');
  canvas.width = WIDTH;
  canvas.height = height;
  document.body.replaceChildren(canvas);
  return contextOf(canvas, { alpha: false });
}

function countLabels(context: CanvasRenderingContext2D, draw: () => void): number {
  let labels = 0;
  const fillText = context.fillText.bind(context);
  context.fillText = (...text) => {
    labels++;
    fillText(...text);
  };
  draw();
  context.fillText = fillText;
  return labels;
}

function hitTest(flame: Flame): number {
  const random = generator(7);
  const rounds = 100_000;
  const whole = fullRange(flame).to;
  const [, time] = timed(() => {
    let found = 0;
    for (let i = 0; i < rounds; i++) if (nodeAt(flame, Math.floor(random() * flame.depth), random() * whole) !== NONE) found++;
    return found;
  });
  return (time * 1000) / rounds;
}

/** A tree 60 or so levels deep whose leaves have weights distributed as 1/x, so that some bars are wide and most are thin. */
function randomTree(nodes: number): FlameData {
  const random = generator(nodes);
  const names = ['total'];
  for (let i = 1; i < DISTINCT_NAMES; i++) names.push(`github.com/acme/pkg${i % 211}.(*Type${i % 37}).handle${i}`);
  const childCount = new Uint32Array(nodes);
  const nameIndex = new Uint32Array(nodes);
  const self = new Float64Array(nodes);
  const open = [0];
  for (let i = 1; i < nodes; i++) {
    const climb = random() < 0.55 ? 0 : Math.floor(random() ** 3 * open.length * 0.6) + (open.length > 60 ? 2 : 0);
    open.length = Math.max(1, open.length - climb);
    childCount[open[open.length - 1]]++;
    open.push(i);
    nameIndex[i] = 1 + Math.floor(random() ** 2 * (DISTINCT_NAMES - 1));
    self[i] = random() < 0.4 ? Math.floor(Math.min(HEAVIEST, 1 / (1 - random()))) : 0;
  }
  return { names, childCount, nameIndex, self };
}

async function gzipSize(bytes: Uint8Array): Promise<number> {
  const packed = new Blob([bytes as BlobPart]).stream().pipeThrough(new CompressionStream('gzip'));
  return (await new Response(packed).arrayBuffer()).byteLength;
}

function timed<T>(work: () => T): [T, number] {
  const began = performance.now();
  const result = work();
  return [result, performance.now() - began];
}

declare global {
  interface Window {
    measure: typeof measure;
  }
}
window.measure = measure;
