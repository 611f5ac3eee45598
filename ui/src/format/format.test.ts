import { describe, expect, test } from 'vitest';
import { parseProfileType, preferredType, profileTypeLabel } from './profile-type.ts';
import { formatCount, formatShare, formatValue, tickSteps } from './units.ts';

describe('values', () => {
  test.each([
    [0, 'nanoseconds', '0 ns'],
    [999, 'nanoseconds', '999 ns'],
    [1500, 'nanoseconds', '1.5 µs'],
    [700_000_000, 'nanoseconds', '700 ms'],
    [999_999_999, 'nanoseconds', '1 s'],
    [12_340_000_000, 'nanoseconds', '12.3 s'],
    [90e9, 'nanoseconds', '1.5 min'],
    [5400e9, 'nanoseconds', '1.5 h'],
    [200_000e9, 'nanoseconds', '2.31 d'],
    [1500, 'milliseconds', '1.5 s'],
    [512, 'bytes', '512 B'],
    [1536, 'bytes', '1.5 KiB'],
    [3 * 2 ** 30, 'bytes', '3 GiB'],
    [1023.9 * 1024, 'bytes', '1 MiB'],
    [42, 'count', '42'],
    [1_234_567, 'count', '1.23 M'],
    [1_234_567, 'goroutines', '1.23 M'],
    [0.5, 'count', '0.5'],
    [-1500, 'bytes', '-1.46 KiB'],
  ])('%d %s is %s', (value, unit, expected) => expect(formatValue(value, unit)).toBe(expected));
});

describe('axis ticks', () => {
  test.each(['nanoseconds', 'milliseconds', 'bytes', 'count'])('%s: ascending, with short labels', (unit) => {
    const steps = tickSteps(unit);
    expect([...steps].sort((a, b) => a - b)).toEqual(steps);
    for (const step of steps.filter((value) => value >= 1)) expect(formatValue(step, unit)).toMatch(/^\d{1,4} ?[A-Za-zµ]*$/);
  });
});

describe('shares', () => {
  test.each([
    [0, '0 %'],
    [0.00001, '< 0.01 %'],
    [0.0042, '0.42 %'],
    [0.007, '0.7 %'],
    [0.1234, '12.3 %'],
    [0.7, '70.0 %'],
    [1, '100.0 %'],
  ])('%d is %s', (share, expected) => expect(formatShare(share)).toBe(expected));

  test('counts are grouped', () => {
    expect(formatCount(1_234_567)).toBe('1\u202f234\u202f567');
    expect(formatCount(999)).toBe('999');
  });
});

describe('profile types', () => {
  const cpu = 'process_cpu:cpu:nanoseconds:cpu:nanoseconds';

  test('read as name and sample type', () => {
    expect(profileTypeLabel(cpu)).toBe('process_cpu - cpu');
    expect(profileTypeLabel('odd')).toBe('odd');
    expect(parseProfileType('memory:alloc_space:bytes::').sampleUnit).toBe('bytes');
  });

  test('CPU time is shown first', () => {
    expect(preferredType(['memory:alloc_space:bytes::', cpu])).toBe(cpu);
    expect(preferredType(['memory:alloc_space:bytes::', 'wall:wall:nanoseconds::'])).toBe('wall:wall:nanoseconds::');
    expect(preferredType([])).toBe('');
  });
});
