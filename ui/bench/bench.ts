/** Measures the engine in a browser. `bench/run.mjs` calls `measure` and prints what it returns. */
import { colourSlots, darkPalette } from '../src/flame-core/colour.ts';
import { decodeFlame, type FlameData } from '../src/flame-core/decode.ts';
import { drawScene, type Scene } from '../src/flame-core/draw.ts';
import { encodeFlame } from '../src/flame-core/encode.ts';
import { layoutFlame, type Flame } from '../src/flame-core/layout.ts';
import { fullRange } from '../src/flame-core/range.ts';
import { findNodes } from '../src/flame-core/search.ts';
import { nodeAt, NONE } from '../src/flame-core/tree.ts';
import { generator } from '../dev/random.ts';

/** Times are in milliseconds, hit tests in microseconds, sizes in bytes. */
export interface Measurement {
  nodes: number;
  levels: number;
  decode: number;
  layout: number;
  p50: number;
  p95: number;
  max: number;
  rectangles: number;
  hit: number;
  search: number;
  wire: number;
  gzip: number;
}

const WIDTH = 1600;
const HEIGHT = 900;
const FRAMES = 120;
const DISTINCT_NAMES = 40_000;

async function measure(nodes: number): Promise<Measurement> {
  const bytes = encodeFlame(randomTree(nodes));
  const [data, decode] = timed(() => decodeFlame(bytes));
  const [flame, layout] = timed(() => layoutFlame(data));
  const { times, rectangles } = frames(flame);
  times.sort((a, b) => a - b);
  const [, search] = timed(() => findNodes(flame, { matches: (name) => /handle.*7$/.test(name) }));
  return {
    nodes: flame.nodeCount,
    levels: flame.depth,
    decode,
    layout,
    p50: times[Math.floor(times.length * 0.5)],
    p95: times[Math.floor(times.length * 0.95)],
    max: times[times.length - 1],
    rectangles,
    hit: hitTest(flame),
    search,
    wire: bytes.length,
    gzip: await gzipSize(bytes),
  };
}

/** Zooms in, pans and scrolls; reads a pixel back after every frame so that painting is really done. */
function frames(flame: Flame): { times: number[]; rectangles: number } {
  const canvas = document.getElementById('canvas') as HTMLCanvasElement;
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const context = canvas.getContext('2d', { alpha: false })!;
  const whole = fullRange(flame).to;
  const slots = colourSlots(flame.names, 'package');
  const times: number[] = [];
  let rectangles = 0;
  for (let frame = 0; frame < FRAMES; frame++) {
    const width = whole * 0.92 ** (frame % 60);
    const from = (whole - width) * 0.4;
    const scene: Scene = {
      flame,
      range: { from, to: from + width },
      width: WIDTH,
      height: HEIGHT,
      pixelRatio: 1,
      scrollTop: frame < 60 ? 0 : (frame - 60) * 8,
      orientation: 'icicle',
      palette: darkPalette,
      slots,
      font: '12px monospace',
      glyphWidth: 7.2,
      search: null,
      selected: null,
      focus: NONE,
      hover: NONE,
    };
    const [drawn, time] = timed(() => {
      const count = drawScene(context, scene);
      context.getImageData(frame, 0, 1, 1);
      return count;
    });
    times.push(time);
    if (frame === 0) rectangles = drawn;
  }
  return { times, rectangles };
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

/** A tree in which most weight sits in a few branches, 70 or so levels deep. */
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
    self[i] = random() < 0.4 ? Math.floor(1 + 5000 * random() ** 12) : 0;
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
