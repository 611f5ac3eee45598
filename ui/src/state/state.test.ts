import { describe, expect, test } from 'vitest';
import { compileQuery } from '../flame-core/index.ts';
import { columns, withGaps } from './buckets.ts';
import { applyCompletion, completionAt, rankOptions } from './label-input.ts';
import { describeRange, isTime, toEpochMs, widerRange } from './time.ts';
import { arrangeRows, visibleSlice } from './top-rows.ts';

describe('label completion', () => {
  const cases: [string, object][] = [
    ['|', { kind: 'name', prefix: '', from: 0 }],
    ['reg|', { kind: 'name', prefix: 'reg', from: 0 }],
    ['region="eu", en|', { kind: 'name', prefix: 'en', from: 13 }],
    ['region="|', { kind: 'value', name: 'region', prefix: '', from: 8 }],
    ['region="e|u"', { kind: 'value', name: 'region', prefix: 'e', from: 8 }],
    ['region=~"eu.*|', { kind: 'value', name: 'region', prefix: 'eu.*', from: 9 }],
    ['a="x,y", b != "q|', { kind: 'value', name: 'b', prefix: 'q', from: 15 }],
    ['a="b=\\"c", d="|', { kind: 'value', name: 'd', prefix: '', from: 14 }],
    ['region="eu"|', { kind: 'none' }],
    ['region=|', { kind: 'none' }],
  ];

  test.each(cases)('%s', (drawn, expected) => {
    const caret = drawn.indexOf('|');
    expect(completionAt(drawn.replace('|', ''), caret)).toEqual(expected);
  });

  function complete(drawn: string, choice: string): string {
    const caret = drawn.indexOf('|');
    const input = drawn.replace('|', '');
    const completion = completionAt(input, caret);
    if (completion.kind === 'none') throw new Error('nothing to complete');
    const result = applyCompletion(input, caret, completion, choice);
    return `${result.text.slice(0, result.caret)}|${result.text.slice(result.caret)}`;
  }

  test('a name opens its value, a value closes it', () => {
    expect(complete('re|', 'region')).toBe('region="|');
    expect(complete('region="e|', 'eu-west')).toBe('region="eu-west"|');
    expect(complete('region="e|u", env="x"', 'eu-west')).toBe('region="eu-west"|, env="x"');
    expect(complete('path="|', 'C:\\x "y"')).toBe('path="C:\\\\x \\"y\\""|');
  });

  test('options that begin with the text come first', () => {
    expect(rankOptions(['zone', 'availability_zone', 'env'], 'zone')).toEqual(['zone', 'availability_zone']);
  });
});

describe('time ranges', () => {
  const now = Date.UTC(2026, 0, 2);

  test('understood and refused', () => {
    expect(['now', 'now-5m', '1700000000000'].map(isTime)).toEqual([true, true, true]);
    expect(['', 'now-', 'now-5', 'now+5m', '-1', 'later', '1e9'].some(isTime)).toBe(false);
    expect(toEpochMs('now-24h', now)).toBe(Date.UTC(2026, 0, 1));
    expect(toEpochMs('1700000000000', now)).toBe(1_700_000_000_000);
  });

  test('presets have names', () => {
    expect(describeRange({ from: 'now-1h', to: 'now' })).toBe('Last hour');
    expect(describeRange({ from: 'now-10m', to: 'now' })).toBe('Last 10 minutes');
    expect(describeRange({ from: 'now-1w', to: 'now' })).toBe('Last 1 week');
    expect(describeRange({ from: 'now-2h', to: 'now-1h' })).toBe('now-2h – now-1h');
  });

  test('the next wider range reaches further back', () => {
    expect(widerRange({ from: 'now-1h', to: 'now' }, now)).toEqual({ from: 'now-6h', to: 'now' });
    expect(widerRange({ from: String(now - 7_200_000), to: String(now - 3_600_000) }, now)).toEqual({ from: 'now-6h', to: 'now' });
    expect(widerRange({ from: 'now-7d', to: 'now' }, now)).toBeNull();
  });
});

describe('timeline buckets', () => {
  test('series are summed, and empty buckets between full ones are said once', () => {
    const series = [
      { labels: {}, points: [[15_000, 1], [30_000, 2]] as [number, number][] },
      { labels: {}, points: [[30_000, 4], [90_000, 8]] as [number, number][] },
    ];
    const summed = columns({ start: 0, end: 120_000, step: 15_000, series });
    expect(summed).toEqual([
      [15, 30, 90],
      [1, 6, 8],
    ]);
    expect(withGaps(summed, 15)).toEqual([
      [15, 30, 45, 90, 105],
      [1, 6, null, 8, null],
    ]);
    expect(withGaps([[], []], 15)).toEqual([[], []]);
  });
});

describe('table rows', () => {
  const rows = [
    { name: 'b', self: 1, total: 9 },
    { name: 'a', self: 1, total: 5 },
    { name: 'c', self: 7, total: 7 },
  ];
  const names = (...args: Parameters<typeof arrangeRows>) => arrangeRows(...args).map((row) => row.name).join('');

  test('sorted by each column, ties by name', () => {
    expect(names(rows, null, 'self', false)).toBe('cab');
    expect(names(rows, null, 'self', true)).toBe('abc');
    expect(names(rows, null, 'total', false)).toBe('bca');
    expect(names(rows, null, 'name', true)).toBe('abc');
    expect(names(rows, null, 'name', false)).toBe('cba');
  });

  test('filtered by the search, but not by a broken one', () => {
    expect(names(rows, compileQuery('[ac]', true), 'name', true)).toBe('ac');
    expect(names(rows, compileQuery('[', true), 'name', true)).toBe('abc');
  });

  test('the visible slice covers the viewport and stays in bounds', () => {
    expect(visibleSlice(0, 100, 10, 1000)).toEqual({ first: 0, last: 18 });
    expect(visibleSlice(5000, 100, 10, 1000)).toEqual({ first: 492, last: 518 });
    expect(visibleSlice(99_999, 100, 10, 20)).toEqual({ first: 20, last: 20 });
  });
});
