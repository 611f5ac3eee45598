import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { layoutFlame, nameOf, totalOf, type Flame } from './layout.ts';
import { anyTree, chain, tree } from './testing.ts';
import { applyStep, calleesOf, callersOf, collapseRecursion, dataOf, type Step } from './transform.ts';
import { functionTotals, pathTo } from './tree.ts';

/** A tree as text: two spaces per level, name and self weight. */
function drawn(data: ReturnType<typeof dataOf>): string {
  const flame = layoutFlame(data);
  const lines = Array.from({ length: flame.nodeCount }, (_, i) => {
    const self = flame.self[i] === 0 ? '' : ` ${flame.self[i]}`;
    return `${'  '.repeat(flame.level[i])}${nameOf(flame, i)}${self}`;
  });
  return lines.join('\n');
}

function same(text: string): string {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const indent = Math.min(...lines.map((line) => line.search(/\S/)));
  return lines.map((line) => line.slice(indent)).join('\n');
}

const SHOP = tree(`
  total
    main
      handle
        json 10
        render 3
          json 20
      idle 5
    worker
      json 7
        scan 1`);

describe('sandwich', () => {
  test('callees of a function from everywhere', () => {
    expect(drawn(calleesOf(SHOP, 'json'))).toBe(same(`
      json 37
        scan 1`));
    expect(drawn(calleesOf(SHOP, 'main'))).toBe(same(`
      main
        handle
          json 10
          render 3
            json 20
        idle 5`));
  });

  test('callers of a function by weight of the calls', () => {
    expect(drawn(callersOf(SHOP, 'json'))).toBe(same(`
      json
        handle
          main 10
        render
          handle
            main 20
        worker 8`));
  });

  test('a function that calls itself counts once', () => {
    const flame = tree(`
      total
        main
          f 1
            f 2
              g 4
            h
              f 8`);
    expect(drawn(callersOf(flame, 'f'))).toBe('f\n  main 15');
    expect(drawn(calleesOf(flame, 'f'))).toBe(same(`
      f 1
        f 2
          g 4
        h
          f 8`));
  });

  test('a function that is not there has neither', () => {
    expect(calleesOf(SHOP, 'nothing').self.length).toBe(0);
    expect(callersOf(SHOP, 'nothing').self.length).toBe(0);
  });

  test('both weigh what the function weighs', () => {
    fc.assert(
      fc.property(anyTree, fc.constantFrom('a', 'b', 'main', 'other', ''), (data, name) => {
        const flame = layoutFlame({ ...data, self: data.self.map((self) => self % 1000) });
        const index = flame.names.indexOf(name);
        const expected = index < 0 ? 0 : functionTotals(flame).total[index];
        expect(totalOf(layoutFlame(calleesOf(flame, name)))).toBe(expected);
        expect(totalOf(layoutFlame(callersOf(flame, name)))).toBe(expected);
      }),
    );
  });
});

describe('collapsed recursion', () => {
  test('direct calls become one, and their callees are merged', () => {
    const flame = tree(`
      total
        walk 1
          a 2
          walk 4
            a 8
              a 16
            b 32
            walk 64
        z
          walk 128`);
    expect(drawn(collapseRecursion(flame))).toBe(same(`
      total
        walk 69
          a 26
          b 32
        z
          walk 128`));
  });

  test('a function in between stays', () => {
    const flame = tree('total\n  f 1\n    g 2\n      f 4');
    expect(drawn(collapseRecursion(flame))).toBe(drawn(dataOf(flame)));
  });

  test('weight is conserved, in all and per function, and no function calls itself', () => {
    fc.assert(
      fc.property(anyTree, (data) => {
        const flame = layoutFlame({ ...data, self: data.self.map((self) => self % 1000) });
        const collapsed = layoutFlame(collapseRecursion(flame));
        expect(functionTotals(collapsed)).toEqual(functionTotals(flame));
        for (let i = 1; i < collapsed.nodeCount; i++) {
          if (collapsed.parent[i] !== 0) expect(collapsed.nameIndex[i]).not.toBe(collapsed.nameIndex[collapsed.parent[i]]);
        }
      }),
    );
  });
});

describe('any step', () => {
  const steps: Step[] = [{ kind: 'collapse' }, { kind: 'callees', of: 'a' }, { kind: 'callers', of: 'a' }];

  test('children are distinct and sorted, folded weight last', () => {
    fc.assert(
      fc.property(anyTree, fc.constantFrom(...steps), (data, step) => {
        const flame = layoutFlame(applyStep(layoutFlame({ ...data, self: data.self.map((self) => self % 9) }), step));
        expect(childNames(flame).every((names) => names.every((name, i) => i === 0 || precedes(names[i - 1], name)))).toBe(true);
      }),
    );
  });

  test('columns come back from a tree', () => {
    fc.assert(
      fc.property(anyTree, (data) => {
        expect(dataOf(layoutFlame(data))).toEqual(data);
      }),
    );
  });

  test('100,000 levels are no problem', () => {
    const deep = layoutFlame(chain(100_000));
    expect(layoutFlame(collapseRecursion(deep)).depth).toBe(100_000);
    const leaf = nameOf(deep, 99_999);
    expect(pathTo(layoutFlame(callersOf(deep, leaf)), 1).length).toBe(2);
  });
});

function childNames(flame: Flame): string[][] {
  const names = Array.from({ length: flame.nodeCount }, (): string[] => []);
  for (let i = 1; i < flame.nodeCount; i++) names[flame.parent[i]].push(nameOf(flame, i));
  return names;
}

function precedes(left: string, right: string): boolean {
  if (left === 'other' || right === 'other') return left !== 'other';
  return left < right;
}
