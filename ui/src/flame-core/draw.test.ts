import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { colourSlots, contrast, darkPalette, lightPalette } from './colour.ts';
import { fitLabel, LabelTexts } from './labels.ts';
import { layoutFlame, startOf, type Flame } from './layout.ts';
import { betweenRanges, clampRange, fullRange, panRange, rangeOf, scaleRange } from './range.ts';
import { nameTail, packageOf, shortName } from './names.ts';
import { rasterLevel, WideBars, type PixelPalette } from './raster.ts';
import { levelAt, topOf, visibleLevels, type Scene } from './scene.ts';
import { findNodes } from './search.ts';
import { firstAbove, firstAtLeast, nearAtLeast } from './sorted.ts';
import { anyTree, chain, tree } from './testing.ts';
import { NONE } from './tree.ts';
import { describeNode, nodesAround } from './treeview.ts';

/** Colours that are easy to tell apart in an expectation. */
const COLOURS: PixelPalette = {
  bars: Uint32Array.from({ length: 18 }, () => 1),
  neutral: 2,
  merged: 3,
  mergedMatch: 4,
  dimmed: 5,
  selected: 6,
  background: 0,
};
const COLOUR_NAMES = ['', 'bar', 'root', 'merged', 'match', 'dimmed', 'selected'];

interface Run {
  x: number;
  width: number;
  colour: string;
}

function sceneOf(flame: Flame, changes: Partial<Scene> = {}): Scene {
  return {
    flame,
    range: fullRange(flame),
    width: 100,
    height: 200,
    pixelRatio: 1,
    scrollTop: 0,
    orientation: 'icicle',
    palette: darkPalette,
    slots: colourSlots(flame.names, 'package').map(() => 0),
    labels: new LabelTexts(flame.names),
    font: '',
    glyphWidth: 7,
    search: null,
    selected: null,
    focus: NONE,
    hover: NONE,
    brush: null,
    ...changes,
  };
}

/** The runs of equal colour of a level, left to right, without the background. */
function paint(flame: Flame, level: number, changes: Partial<Scene> = {}): Run[] {
  const scene = sceneOf(flame, changes);
  const line = new Uint32Array(scene.width * scene.pixelRatio);
  rasterLevel(scene, COLOURS, level, line, new WideBars());
  const runs: Run[] = [];
  line.forEach((pixel, x) => {
    const last = runs[runs.length - 1];
    if (pixel === COLOURS.background) return;
    if (last !== undefined && last.x + last.width === x && last.colour === COLOUR_NAMES[pixel]) last.width++;
    else runs.push({ x, width: 1, colour: COLOUR_NAMES[pixel] });
  });
  return runs;
}

function crowd(count: number, more = ''): Flame {
  return tree(`total\n${Array.from({ length: count }, (_, i) => `  f${i} 1`).join('\n')}${more}`);
}

const SHOP = tree('total\n  main\n    parse 70\n    render 30');

describe('drawing', () => {
  test('bars are where their weight says', () => {
    expect([0, 1, 2].map((level) => paint(SHOP, level))).toEqual([
      [{ x: 0, width: 99, colour: 'root' }],
      [{ x: 0, width: 99, colour: 'bar' }],
      [
        { x: 0, width: 69, colour: 'bar' },
        { x: 70, width: 29, colour: 'bar' },
      ],
    ]);
  });

  test('a zoomed bar fills the line, its neighbours are gone', () => {
    const range = { from: 0, to: 70 };
    expect([1, 2].map((level) => paint(SHOP, level, { range }))).toEqual([
      [{ x: 0, width: 100, colour: 'bar' }],
      [{ x: 0, width: 99, colour: 'bar' }],
    ]);
  });

  test('a screen with more pixels shows more bars', () => {
    const flame = crowd(150);
    expect(paint(flame, 1)).toEqual([{ x: 0, width: 100, colour: 'merged' }]);
    expect(paint(flame, 1, { pixelRatio: 2 }).every((run) => run.colour === 'bar')).toBe(true);
  });

  test('bars thinner than a pixel merge into runs but never vanish', () => {
    expect(paint(crowd(5000, '\n  wide 5000'), 1)).toEqual([
      { x: 0, width: 50, colour: 'merged' },
      { x: 50, width: 49, colour: 'bar' },
    ]);
  });

  test('every pixel that has weight is painted', () => {
    const range = fc.tuple(fc.nat({ max: 999 }), fc.nat({ max: 999 })).filter(([a, b]) => a < b);
    fc.assert(
      fc.property(anyTree, range, (data, [a, b]) => {
        const flame = layoutFlame({ ...data, self: data.self.map((self) => (self % 7) ** 4) });
        const whole = fullRange(flame).to;
        const visible = { from: (whole * a) / 1000, to: (whole * b) / 1000 };
        const scale = 100 / (visible.to - visible.from);
        const levels = Array.from({ length: flame.depth }, (_, level) => paint(flame, level, { range: visible }));
        for (let i = 0; i < flame.nodeCount; i++) {
          const middle = (startOf(flame, i) + flame.total[i] / 2 - visible.from) * scale;
          if (flame.total[i] === 0 || middle < 0 || middle > 100) continue;
          const covered = levels[flame.level[i]].some((run) => run.x - 1 <= middle && middle <= run.x + run.width + 1.01);
          expect(covered).toBe(true);
        }
      }),
    );
  });

  test('search dims the rest, selection stands out even inside a run', () => {
    const parse = findNodes(SHOP, { matches: (name) => name === 'parse' });
    expect(paint(SHOP, 1, { search: parse })[0].colour).toBe('dimmed');
    expect(paint(SHOP, 2, { search: parse }).map(({ colour }) => colour)).toEqual(['bar', 'dimmed']);
    expect(paint(SHOP, 2, { selected: parse }).map(({ colour }) => colour)).toEqual(['selected', 'bar']);

    const flame = crowd(3000);
    const one = findNodes(flame, { matches: (name) => name === 'f1500' });
    expect(paint(flame, 1, { selected: one })).toEqual([
      { x: 0, width: 50, colour: 'merged' },
      { x: 50, width: 1, colour: 'selected' },
      { x: 51, width: 49, colour: 'merged' },
    ]);
    expect(paint(flame, 1, { search: one })[1]).toEqual({ x: 50, width: 1, colour: 'match' });
  });

  test('a level costs no more than its pixels, however many nodes it has', () => {
    const scene = sceneOf(crowd(50_000));
    expect(rasterLevel(scene, COLOURS, 1, new Uint32Array(100), new WideBars())).toBeLessThanOrEqual(100);
  });

  test('bars with room for a label are reported, however many', () => {
    const wide = new WideBars();
    const flame = crowd(1000);
    const scene = sceneOf(flame, { width: 40_000 });
    rasterLevel(scene, COLOURS, 1, new Uint32Array(scene.width), wide);
    expect(wide.count).toBe(1000);
    expect([wide.node[999], wide.left[999], wide.right[999]]).toEqual([1000, 39_960, 39_999]);
    const narrow = new WideBars();
    rasterLevel(sceneOf(flame), COLOURS, 1, new Uint32Array(100), narrow);
    expect(narrow.count).toBe(0);
  });

  test('labels fit or shrink to the telling part', () => {
    expect(fitLabel('net/http.(*conn).serve', 30)).toBe('net/http.(*conn).serve');
    expect(fitLabel('net/http.(*conn).serve', 8)).toBe('serve');
    expect(fitLabel('net/http.(*conn).serve', 4)).toBe('ser…');
    expect(fitLabel('serve', 2)).toBe('');
  });

  test('wide characters take two places and are not cut in half', () => {
    expect(fitLabel('解析', 4)).toBe('解析');
    expect(fitLabel('解析する', 5)).toBe('解析…');
    expect(fitLabel('🔥🔥🔥', 4)).toBe('🔥…');
  });

  test('only visible levels are drawn, and a flame stands on the bottom', () => {
    const deep = layoutFlame(chain(10_000));
    expect(visibleLevels(sceneOf(deep, { scrollTop: 100_000 }))).toEqual({ first: 5000, last: 5009 });
    expect(visibleLevels(sceneOf(SHOP))).toEqual({ first: 0, last: 2 });
    expect([0, 1, 2].map((level) => topOf(sceneOf(SHOP, { orientation: 'flame' }), level))).toEqual([180, 160, 140]);
  });

  test('level and vertical position are inverse', () => {
    for (const orientation of ['icicle', 'flame'] as const) {
      const view = { flame: layoutFlame(chain(50)), height: 200, scrollTop: 137, orientation };
      for (let level = 0; level < 50; level++) expect(levelAt(view, topOf(view, level) + 3)).toBe(level);
    }
  });
});

describe('searching a sorted column', () => {
  test('agrees with looking at every value', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 30 })), fc.nat({ max: 31 }), fc.nat(), (values, value, from) => {
        const column = Uint32Array.from(values).sort();
        const low = from % (values.length + 1);
        const tail = [...column.subarray(low)];
        const expected = (found: number) => (found < 0 ? column.length : low + found);
        const atLeast = expected(tail.findIndex((each) => each >= value));
        expect(firstAtLeast(column, low, column.length, value)).toBe(atLeast);
        expect(nearAtLeast(column, low, column.length, value)).toBe(atLeast);
        expect(firstAbove(column, low, column.length, value)).toBe(expected(tail.findIndex((each) => each > value)));
      }),
    );
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
    ['<tokio::Task<T> as core::Future>::poll', 'tokio', 'poll', 'poll'],
    ['store::flush::{{closure}}::{{closure}}', 'store', 'flush::{{closure}}::{{closure}}', 'flush::{{closure}}::{{closure}}'],
    ['call<core::Result<(), a::Error>, ()>', 'call', 'call', 'call<core::Result<(), a::Error>, ()>'],
    ['a::b::call<fn(u8) -> c::D>', 'a', 'call', 'b::call<fn(u8) -> c::D>'],
    ['std::vector<int, std::allocator<int> >::push_back(int const&)', 'std', 'push_back', 'vector<int, std::allocator<int> >::push_back(int const&)'],
    ['ns::operator<', 'ns', 'operator<', 'ns::operator<'],
    ['app/main.py:<module>', 'app/main.py', '<module>', 'main.py:<module>'],
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
    expect(nodesAround(crowd, 200)).toContainEqual({ node: 200, at: 199, of: 400 });
    expect(nodesAround(crowd, 400)[0]).toEqual({ node: 0, at: 0, of: 1 });
  });
});
