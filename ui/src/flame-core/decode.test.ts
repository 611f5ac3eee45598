import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { crc32c } from './crc32c.ts';
import { decodeFlame, FlameFormatError } from './decode.ts';
import { encodeFlame } from './encode.ts';
import { anyTree, chain, treeData } from './testing.ts';

/** A message with a right checksum around any body. */
function sealed(body: number[]): Uint8Array {
  const bytes = new Uint8Array(body.length + 4);
  bytes.set(body);
  new DataView(bytes.buffer).setUint32(body.length, crc32c(bytes.subarray(0, body.length)), true);
  return bytes;
}

const MAGIC = [0x41, 0x46, 0x47, 0x31];
const HUGE = [0xff, 0xff, 0xff, 0xff, 0x0f];

describe('checksum', () => {
  test('RFC 3720 test vectors', () => {
    expect(crc32c(new TextEncoder().encode('123456789'))).toBe(0xe3069283);
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
  });
});

describe('decoding', () => {
  test('reads bytes written by hand', () => {
    const names = [2, 5, ...new TextEncoder().encode('total'), 1, 0x61];
    const bytes = sealed([...MAGIC, ...names, 2, 1, 0, 0, 1, 0, 0xac, 0x02]);
    expect(decodeFlame(bytes)).toEqual({
      names: ['total', 'a'],
      childCount: Uint32Array.of(1, 0),
      nameIndex: Uint32Array.of(0, 1),
      self: Float64Array.of(0, 300),
    });
  });

  test('reads what the writer wrote', () => {
    fc.assert(
      fc.property(anyTree, (data) => {
        expect(decodeFlame(encodeFlame(data))).toEqual(data);
      }),
    );
  });

  test('reads a tree without nodes', () => {
    expect(decodeFlame(sealed([...MAGIC, 0, 0])).childCount.length).toBe(0);
  });

  test('keeps the magnitude of values above 2^53', () => {
    const max64 = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    const { self } = decodeFlame(sealed([...MAGIC, 1, 0, 1, 0, 0, ...max64]));
    expect(self[0]).toBe(2 ** 64);
  });

  test('reads a stack of 10,000 levels', () => {
    expect(decodeFlame(encodeFlame(chain(10_000))).childCount.length).toBe(10_000);
  });
});

describe('foreign bytes', () => {
  const cases: [string, Uint8Array, RegExp][] = [
    ['nothing', new Uint8Array(), /truncated/],
    ['text', new TextEncoder().encode('<!doctype html>'), /does not start with AFG1/],
    ['a later version', sealed([0x41, 0x46, 0x47, 0x32, 0, 0]), /does not start with AFG1/],
    ['a flipped bit', flipped(encodeFlame(treeData('total\n  a 1')), 9), /checksum/],
    ['more names than bytes', sealed([...MAGIC, 100, 1, 0x61]), /does not fit/],
    ['an absurd number of names', sealed([...MAGIC, ...HUGE]), /above the limit/],
    ['an absurd number of nodes', sealed([...MAGIC, 0, ...HUGE]), /above the limit/],
    ['more nodes than bytes', sealed([...MAGIC, 1, 0, 9, 0, 0, 0]), /does not fit/],
    ['a name beyond the end', sealed([...MAGIC, 1, 99, 0, 0]), /truncated/],
    ['a name that does not exist', sealed([...MAGIC, 1, 0, 1, 0, 7, 0]), /points at name 7 of 1/],
    ['more children than nodes', sealed([...MAGIC, 1, 0, 1, 5, 0, 0]), /more children/],
    ['a second root', sealed([...MAGIC, 1, 0, 2, 0, 0, 0, 0, 0, 0]), /ends at node 1 of 2/],
    ['bytes after the end', sealed([...MAGIC, 0, 0, 1]), /after the last column/],
    ['an endless number', sealed([...MAGIC, ...new Array<number>(12).fill(0x80)]), /longer than 64 bits/],
  ];

  test.each(cases)('%s', (_name, bytes, message) => {
    expect(() => decodeFlame(bytes)).toThrow(FlameFormatError);
    expect(() => decodeFlame(bytes)).toThrow(message);
  });

  test('any body is either read or refused', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 255 }), { maxLength: 80 }), (body) => {
        try {
          decodeFlame(sealed([...MAGIC, ...body]));
        } catch (error) {
          expect(error).toBeInstanceOf(FlameFormatError);
        }
      }),
      { numRuns: 2000 },
    );
  });

  function flipped(bytes: Uint8Array, at: number): Uint8Array {
    const copy = bytes.slice();
    copy[at] ^= 4;
    return copy;
  }
});
