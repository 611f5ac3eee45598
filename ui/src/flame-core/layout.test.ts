import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { layoutFlame, nameOf, rowOf, startOf, totalOf } from './layout.ts';
import { anyTree, chain, tree } from './testing.ts';
import {
  childrenOf,
  findPath,
  foldedShare,
  functionTotals,
  heaviestChild,
  isFolded,
  nodeAt,
  NONE,
  pathKey,
  pathTo,
  siblingsOf,
} from './tree.ts';

const SHOP = `
  total
    main
      handle 5
        parse 65
        render 20
      idle 10`;

describe('layout', () => {
  test('packs children to the left and sums totals', () => {
    const flame = tree(SHOP);
    const rows = Array.from({ length: flame.nodeCount }, (_, i) => [
      nameOf(flame, i),
      flame.level[i],
      startOf(flame, i),
      flame.total[i],
      flame.end[i],
    ]);
    expect(rows).toEqual([
      ['total', 0, 0, 100, 6],
      ['main', 1, 0, 100, 6],
      ['handle', 2, 0, 90, 5],
      ['parse', 3, 0, 65, 4],
      ['render', 3, 65, 20, 5],
      ['idle', 2, 90, 10, 6],
    ]);
    expect(flame.depth).toBe(4);
  });

  test('a parent covers its children, levels do not overlap, weight is conserved', () => {
    fc.assert(
      fc.property(anyTree, (data) => {
        const small = { ...data, self: data.self.map((self) => self % 1000) };
        const flame = layoutFlame(small);
        for (let i = 1; i < flame.nodeCount; i++) {
          const up = flame.parent[i];
          expect(up).toBeLessThan(i);
          expect(flame.level[i]).toBe(flame.level[up] + 1);
          expect(startOf(flame, i)).toBeGreaterThanOrEqual(startOf(flame, up));
          expect(startOf(flame, i) + flame.total[i]).toBeLessThanOrEqual(startOf(flame, up) + flame.total[up]);
          expect(flame.byLevel[rowOf(flame, i)]).toBe(i);
        }
        for (let level = 0; level < flame.depth; level++) {
          const nodes = [...flame.byLevel.subarray(flame.levelOffset[level], flame.levelOffset[level + 1])];
          expect(nodes.every((node) => flame.level[node] === level)).toBe(true);
          nodes.slice(1).forEach((node, i) => {
            expect(startOf(flame, node)).toBeGreaterThanOrEqual(startOf(flame, nodes[i]) + flame.total[nodes[i]]);
          });
        }
        expect(totalOf(flame)).toBe(small.self.reduce((sum, self) => sum + self, 0));
      }),
    );
  });

  test('200,000 levels are no problem', () => {
    const flame = layoutFlame(chain(200_000));
    expect(flame.depth).toBe(200_000);
    expect(totalOf(flame)).toBe(1);
    expect(flame.end[0]).toBe(200_000);
  });

  test('an empty tree', () => {
    const none = { names: [], childCount: new Uint32Array(), nameIndex: new Uint32Array(), self: new Float64Array() };
    const flame = layoutFlame(none);
    expect([flame.depth, totalOf(flame), nodeAt(flame, 0, 0)]).toEqual([0, 0, NONE]);
  });
});

describe('hit test', () => {
  test('finds the bar at a position', () => {
    const flame = tree(SHOP);
    const at = (level: number, position: number) => {
      const node = nodeAt(flame, level, position);
      return node === NONE ? null : nameOf(flame, node);
    };
    expect([at(0, 50), at(1, 99), at(2, 89), at(2, 90), at(3, 64.9), at(3, 65), at(3, 85)]).toEqual([
      'total',
      'main',
      'handle',
      'idle',
      'parse',
      'render',
      null,
    ]);
    expect([at(-1, 0), at(4, 0), at(0, 100), at(0, -1)]).toEqual([null, null, null, null]);
  });

  test('agrees with looking at every node', () => {
    fc.assert(
      fc.property(anyTree, fc.nat({ max: 8 }), fc.nat({ max: 300 }), (data, level, position) => {
        const flame = layoutFlame({ ...data, self: data.self.map((self) => self % 10) });
        const expected = [...flame.self.keys()].find((i) => {
          const start = startOf(flame, i);
          return flame.level[i] === level && start <= position && position < start + flame.total[i];
        });
        expect(nodeAt(flame, level, position)).toBe(expected ?? NONE);
      }),
    );
  });

  test('a bar thinner than a pixel answers for the pixel it is painted in', () => {
    const flame = tree('total\n  thin 1\n  wide 1000\n  gone 0');
    expect(nameOf(flame, nodeAt(flame, 1, 0.5, 20))).toBe('thin');
    expect(nameOf(flame, nodeAt(flame, 1, 1005, 20))).toBe('gone');
    expect(nodeAt(flame, 1, 1005, 1)).toBe(NONE);
    expect(nodeAt(flame, 1, 1001)).toBe(NONE);
  });
});

describe('neighbours', () => {
  const flame = tree(SHOP);

  test('children, siblings, path', () => {
    const names = (nodes: number[]) => nodes.map((node) => nameOf(flame, node));
    expect(names(childrenOf(flame, 1))).toEqual(['handle', 'idle']);
    expect(names(siblingsOf(flame, 3))).toEqual(['parse', 'render']);
    expect(names(pathTo(flame, 4))).toEqual(['total', 'main', 'handle', 'render']);
    expect(siblingsOf(flame, 0)).toEqual([0]);
  });

  test('heaviest child', () => {
    expect(nameOf(flame, heaviestChild(flame, 2))).toBe('parse');
    expect(heaviestChild(flame, 3)).toBe(NONE);
  });
});

describe('path keys', () => {
  test('find the same path in another profile', () => {
    const key = pathKey(tree(SHOP), 3);
    const other = tree('total\n  early 1\n  main\n    handle\n      parse 3');
    expect(key).toMatch(/^[0-9a-f]{16}$/);
    expect(nameOf(other, findPath(other, key))).toBe('parse');
    expect(findPath(tree('total\n  main 1'), key)).toBe(NONE);
  });

  test('tell the order of callers apart', () => {
    const flame = tree('total\n  a\n    b\n      c 1\n  b\n    a\n      c 1');
    expect(pathKey(flame, 3)).not.toBe(pathKey(flame, 6));
  });

  test('lead back to a node with the same path', () => {
    fc.assert(
      fc.property(anyTree, fc.nat(), (data, pick) => {
        const flame = layoutFlame(data);
        const node = pick % flame.nodeCount;
        const names = (of: number) => pathTo(flame, of).map((step) => nameOf(flame, step));
        expect(names(findPath(flame, pathKey(flame, node)))).toEqual(names(node));
      }),
    );
  });
});

describe('function totals', () => {
  test('recursion counts once', () => {
    const flame = tree('total\n  f 1\n    f 2\n      g 4\n    g 8\n  g 16');
    const { self, total } = functionTotals(flame);
    const of = (name: string) => [self[flame.names.indexOf(name)], total[flame.names.indexOf(name)]];
    expect(of('f')).toEqual([3, 15]);
    expect(of('g')).toEqual([28, 28]);
  });
});

describe('folded weight', () => {
  test('is the share of leaves called other that come last', () => {
    const flame = tree('total\n  main\n    a 80\n    other 15\n  other 5');
    expect(foldedShare(flame)).toBe(0.2);
    expect(isFolded(flame, 3)).toBe(true);
  });

  test('a real function of that name is not folded weight', () => {
    expect(foldedShare(tree('total\n  other 10\n    a 5\n  z 5'))).toBe(0);
    expect(foldedShare(tree('total\n  other 10\n  z 5'))).toBe(0);
  });
});
