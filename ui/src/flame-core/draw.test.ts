import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { colourSlots, contrast, darkPalette, lightPalette, nameTail, packageOf, shortName } from './colour.ts';
import { drawScene, fitLabel, levelAt, ROW_HEIGHT, topOf, type Scene } from './draw.ts';
import { layoutFlame, type Flame } from './layout.ts';
import { betweenRanges, clampRange, fullRange, panRange, rangeOf, scaleRange } from './range.ts';
import { findNodes } from './search.ts';
import { anyTree, chain, tree } from './testing.ts';
import { NONE } from './tree.ts';
import { describeNode, nodesAround } from './treeview.ts';

interface Rectangle {
  x: number;
  y: number;
  width: number;
  colour: string;
}

/** Stands in for the canvas and remembers what was painted. */
class Recorder {
  fillStyle = '';
  strokeStyle = '';
  font = '';
  textBaseline = '';
  lineWidth = 1;
  readonly rectangles: Rectangle[] = [];
  readonly texts: string[] = [];
  setTransform(): void {}
  strokeRect(): void {}
  fillRect(x: number, y: number, width: number, height: number): void {
    if (height < ROW_HEIGHT) this.rectangles.push({ x, y, width, colour: this.fillStyle });
  }
  fillText(text: string): void {
    this.texts.push(text);
  }
}

function paint(flame: Flame, changes: Partial<Scene> = {}): Recorder {
  const recorder = new Recorder();
  const scene: Scene = {
    flame,
    range: fullRange(flame),
    width: 100,
    height: 200,
    pixelRatio: 1,
    scrollTop: 0,
    orientation: 'icicle',
    palette: darkPalette,
    slots: colourSlots(flame.names, 'package'),
    font: '',
    glyphWidth: 7,
    search: null,
    selected: null,
    focus: NONE,
    hover: NONE,
    ...changes,
  };
  drawScene(recorder as unknown as CanvasRenderingContext2D, scene);
  return recorder;
}

const SHOP = tree('total\n  main\n    parse 70\n    render 30');

describe('drawing', () => {
  test('bars are where their weight says', () => {
    const bars = paint(SHOP).rectangles.map(({ x, y, width }) => [x, y, width]);
    expect(bars).toEqual([
      [0, 0, 99],
      [0, 20, 99],
      [0, 40, 69],
      [70, 40, 29],
    ]);
  });

  test('a flame stands on the bottom', () => {
    const bars = paint(SHOP, { orientation: 'flame' }).rectangles.map(({ y }) => y);
    expect(bars).toEqual([180, 160, 140, 140]);
  });

  test('only visible levels and the visible range are drawn', () => {
    expect(paint(layoutFlame(chain(10_000)), { scrollTop: 100_000 }).rectangles.length).toBe(10);
    expect(paint(SHOP, { range: { from: 70, to: 100 } }).rectangles.length).toBe(3);
  });

  test('bars thinner than a pixel merge into runs but never vanish', () => {
    const lines = Array.from({ length: 5000 }, (_, i) => `  f${i} 1`).join('\n');
    const merged = paint(tree(`total\n${lines}\n  wide 5000`)).rectangles;
    expect(merged.map(({ x, width }) => [x, width])).toEqual([
      [0, 99],
      [0, 50],
      [50, 49],
    ]);
  });

  test('every pixel that has weight is painted', () => {
    fc.assert(
      fc.property(anyTree, (data) => {
        const flame = layoutFlame({ ...data, self: data.self.map((self) => (self % 7) ** 4) });
        const { rectangles } = paint(flame, { height: 2000 });
        const scale = 100 / fullRange(flame).to;
        for (let i = 0; i < flame.nodeCount; i++) {
          const middle = (flame.start[i] + flame.total[i] / 2) * scale;
          const y = flame.level[i] * ROW_HEIGHT;
          const covered = rectangles.some((r) => r.y === y && r.x - 1 <= middle && middle <= r.x + r.width + 1.01);
          expect(covered || flame.total[i] === 0).toBe(true);
        }
      }),
    );
  });

  test('search dims the rest, selection stands out even inside a run', () => {
    const parse = findNodes(SHOP, { matches: (name) => name === 'parse' });
    const colours = paint(SHOP, { search: parse }).rectangles.map(({ colour }) => colour);
    expect(colours[1]).toBe(darkPalette.dimmed);
    expect(colours[2]).not.toBe(darkPalette.dimmed);
    expect(paint(SHOP, { selected: parse }).rectangles[2].colour).toBe(darkPalette.selected);

    const lines = Array.from({ length: 3000 }, (_, i) => `  f${i} 1`).join('\n');
    const crowd = tree(`total\n${lines}`);
    const one = findNodes(crowd, { matches: (name) => name === 'f1500' });
    const marks = paint(crowd, { selected: one }).rectangles.filter(({ colour }) => colour === darkPalette.selected);
    expect(marks).toEqual([{ x: 50, y: 20, width: 1, colour: darkPalette.selected }]);
  });

  test('labels fit or shrink to the telling part', () => {
    expect(fitLabel('net/http.(*conn).serve', 30)).toBe('net/http.(*conn).serve');
    expect(fitLabel('net/http.(*conn).serve', 8)).toBe('serve');
    expect(fitLabel('net/http.(*conn).serve', 4)).toBe('ser…');
    expect(fitLabel('serve', 2)).toBe('');
    expect(paint(SHOP).texts).toEqual(['total', 'main', 'parse']);
  });

  test('level and vertical position are inverse', () => {
    for (const orientation of ['icicle', 'flame'] as const) {
      const view = { flame: layoutFlame(chain(50)), height: 200, scrollTop: 137, orientation };
      for (let level = 0; level < 50; level++) expect(levelAt(view, topOf(view, level) + 3)).toBe(level);
    }
  });
});

describe('ranges', () => {
  test('stay inside the tree', () => {
    expect(clampRange(SHOP, { from: -20, to: 30 })).toEqual({ from: 0, to: 50 });
    expect(clampRange(SHOP, { from: 90, to: 120 })).toEqual({ from: 70, to: 100 });
    expect(clampRange(SHOP, { from: -100, to: 500 })).toEqual({ from: 0, to: 100 });
    expect(panRange(SHOP, { from: 50, to: 100 }, 0.5)).toEqual({ from: 50, to: 100 });
  });

  test('scaling keeps the point under the pointer', () => {
    const zoomed = scaleRange(SHOP, { from: 0, to: 100 }, 0.5, 0.7);
    expect(zoomed.from + (zoomed.to - zoomed.from) * 0.7).toBeCloseTo(70);
  });

  test('animation starts and ends exactly', () => {
    const [a, b] = [fullRange(SHOP), rangeOf(SHOP, 3)];
    expect(betweenRanges(a, b, 0).to).toBeCloseTo(a.to);
    expect(betweenRanges(a, b, 1)).toEqual(b);
  });

  test('a node without weight has the range of its caller', () => {
    expect(rangeOf(tree('total\n  a 5\n    b 0'), 2)).toEqual({ from: 0, to: 5 });
  });
});

describe('colours', () => {
  test.each([
    ['light', lightPalette],
    ['dark', darkPalette],
  ])('text on every bar of the %s theme has a contrast of 4.5 or more', (_name, palette) => {
    for (const bar of palette.bars) expect(contrast(bar, palette.text)).toBeGreaterThanOrEqual(4.5);
    expect(contrast(palette.neutral, palette.neutralText)).toBeGreaterThanOrEqual(4.5);
    expect(contrast(palette.dimmed, palette.dimmedText)).toBeGreaterThanOrEqual(4.5);
    expect(contrast(palette.selected, palette.selectedText)).toBeGreaterThanOrEqual(4.5);
  });

  test.each([
    ['github.com/acme/shop/cart.(*Service).Add', 'github.com/acme/shop/cart', 'Add', 'cart.(*Service).Add'],
    ['runtime.mallocgc', 'runtime', 'mallocgc', 'runtime.mallocgc'],
    ['java/util/HashMap.getNode', 'java/util/HashMap', 'getNode', 'HashMap.getNode'],
    ['com.acme.shop.Cart.add', 'com.acme', 'add', 'Cart.add'],
    ['tokio::runtime::task::poll', 'tokio', 'poll', 'task::poll'],
    ['app/model.py:predict', 'app/model.py', 'predict', 'model.py:predict'],
    ['./src/app.js:handle:42', './src/app.js', 'handle', 'app.js:handle:42'],
    ['main', 'main', 'main', 'main'],
  ])('%s', (name, packageName, short, tail) => {
    expect([packageOf(name), shortName(name), nameTail(name)]).toEqual([packageName, short, tail]);
  });
});

describe('spoken tree', () => {
  test('a node says name, shares, level and place', () => {
    expect(describeNode(SHOP, 2)).toBe('parse, 70 % total, 70 % self, level 3, child 1 of 2');
    expect(describeNode(SHOP, 0)).toBe('total, 100 % total, 0 % self, level 1, root');
  });

  test('at most 50 nodes are exposed, among them the focused one', () => {
    const lines = Array.from({ length: 400 }, (_, i) => `  f${i} 1`).join('\n');
    const crowd = tree(`total\n${lines}`);
    expect(nodesAround(crowd, 0).length).toBe(50);
    expect(nodesAround(crowd, 200)).toContain(200);
  });
});
