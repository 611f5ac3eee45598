import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeState, DEFAULT_STATE, encodeState, NODE_CHOICES, REFRESH_CHOICES, type ViewState } from './url.ts';

const text = fc.string({ unit: 'grapheme', maxLength: 40 });
const time = fc.oneof(
  fc.constant('now'),
  fc.tuple(fc.nat({ max: 999_999 }), fc.constantFrom('s', 'm', 'h', 'd', 'w')).map(([n, unit]) => `now-${n}${unit}`),
  fc.nat({ max: 4_000_000_000_000 }).map(String),
);
const span = fc
  .tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true }))
  .filter(([a, b]) => a < b && !Object.is(a, -0))
  .map(([from, to]) => ({ from, to }));

const anyState: fc.Arbitrary<ViewState> = fc.record({
  service: text,
  type: text,
  labels: text,
  from: time,
  to: time,
  refresh: fc.constantFrom(...REFRESH_CHOICES),
  search: text,
  regex: fc.boolean(),
  selected: text,
  zoom: fc.oneof(fc.constant(''), fc.stringMatching(/^[0-9a-f]{16}$/)),
  span: fc.option(span),
  view: fc.constantFrom('both', 'flame', 'table'),
  shape: fc.constantFrom('icicle', 'flame', 'sandwich'),
  focus: text,
  collapse: fc.boolean(),
  colourBy: fc.constantFrom('package', 'name'),
  sort: fc.constantFrom('name', 'self', 'total'),
  ascending: fc.boolean(),
  maxNodes: fc.constantFrom(...NODE_CHOICES),
});

describe('state in the address', () => {
  test('10,000 random states come back the same', () => {
    fc.assert(
      fc.property(anyState, (state) => {
        expect(decodeState(encodeState(state))).toEqual(state);
      }),
      { numRuns: 10_000 },
    );
  });

  test('the default state is an empty query', () => {
    expect(encodeState(DEFAULT_STATE)).toBe('');
    expect(decodeState('')).toEqual(DEFAULT_STATE);
  });

  test('links written by hand', () => {
    const state = decodeState('?service=shop&type=process_cpu:cpu:nanoseconds:cpu:nanoseconds&from=now-6h&q=parse&view=table');
    expect(state).toEqual({
      ...DEFAULT_STATE,
      service: 'shop',
      type: 'process_cpu:cpu:nanoseconds:cpu:nanoseconds',
      from: 'now-6h',
      search: 'parse',
      view: 'table',
    });
  });

  test('what is malformed or unknown falls back to the default', () => {
    const query = 'from=yesterday&to=&refresh=1&view=pie&zoom=..&span=3_2&nodes=7&dir=up&sort=x&colour=&foo=bar&v=9';
    expect(decodeState(query)).toEqual(DEFAULT_STATE);
  });

  test('any values of any parameters decode to a state that comes back the same', () => {
    const keys = ['service', 'from', 'to', 'refresh', 'q', 'regex', 'zoom', 'span', 'view', 'sort', 'asc', 'nodes', 'x'];
    const values = fc.oneof(text, fc.constantFrom('now', 'now-1', '0.1_0.2', '0_0', '1', 'both', '16384', 'NaN_1'));
    const query = fc.dictionary(fc.constantFrom(...keys), values, { noNullPrototype: true });
    fc.assert(
      fc.property(query, (parameters) => {
        const state = decodeState(new URLSearchParams(parameters).toString());
        expect(decodeState(encodeState(state))).toEqual(state);
      }),
    );
  });
});
