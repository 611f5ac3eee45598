import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { layoutFlame, nameOf } from './layout.ts';
import { anyBetween, compileQuery, findNodes, heaviestOf, nextMatch, weightOf, type Query } from './search.ts';
import { anyTree, tree } from './testing.ts';

function query(text: string, isRegex = false): Query {
  const compiled = compileQuery(text, isRegex);
  if (compiled === null || 'error' in compiled) throw new Error(`does not compile: ${text}`);
  return compiled.query;
}

describe('queries', () => {
  test.each([
    ['pars', false, 'json.Parse', true],
    ['Pars', false, 'json.parse', false],
    ['a.b', false, 'axb', false],
    ['a.b', true, 'axb', true],
    ['^json', true, 'JSON.parse', true],
    ['^parse', true, 'json.parse', false],
  ])('%s (regex %s) on %s', (text, isRegex, name, expected) => {
    expect(query(text, isRegex).matches(name)).toBe(expected);
  });

  test('empty text is no query, a broken expression is an error', () => {
    expect(compileQuery('', true)).toBeNull();
    expect(compileQuery('(', true)).toHaveProperty('error');
    expect(compileQuery('(', false)).toHaveProperty('query');
  });
});

describe('matching nodes', () => {
  const flame = tree(`
    total
      main
        parse 10
          parse 20
        render 70
          parse 0`);

  test('weight counts nested matches once', () => {
    const set = findNodes(flame, query('parse'));
    expect(set.rows.length).toBe(3);
    expect(weightOf(flame, set)).toEqual({ weight: 30, share: 0.3 });
  });

  test('the root is never a match', () => {
    expect(findNodes(flame, query('total')).rows.length).toBe(0);
  });

  test('next and previous wrap around', () => {
    const set = findNodes(flame, query('parse'));
    const forward = [0, 2, 3, 5].map((from) => nextMatch(flame, set, from, 1));
    const back = [0, 2, 3, 5].map((from) => nextMatch(flame, set, from, -1));
    expect(forward).toEqual([2, 3, 5, 2]);
    expect(back).toEqual([5, 5, 2, 3]);
    expect(nextMatch(flame, findNodes(flame, query('absent')), 0, 1)).toBe(-1);
  });

  test('the heaviest', () => {
    expect(heaviestOf(flame, findNodes(flame, query('parse')))).toBe(2);
  });

  test('agree with looking at every node', () => {
    fc.assert(
      fc.property(anyTree, fc.constantFrom('a', 'main', 'o', 'zzz'), fc.nat(), fc.nat(), (data, text, x, y) => {
        const laid = layoutFlame({ ...data, self: data.self.map((self) => self % 100) });
        const set = findNodes(laid, query(text));
        const hits = [...laid.byLevel.keys()].filter(
          (row) => laid.byLevel[row] !== 0 && nameOf(laid, laid.byLevel[row]).includes(text),
        );
        expect([...set.rows]).toEqual(hits);
        const [low, high] = [x % (laid.nodeCount + 1), y % (laid.nodeCount + 1)].sort((a, b) => a - b);
        expect(anyBetween(set, low, high)).toBe(hits.some((row) => row >= low && row < high));
        expect(weightOf(laid, set).share).toBeLessThanOrEqual(1);
      }),
    );
  });
});
