/**
 * Reader of the binary columnar flame graph, `application/vnd.argand.flame`.
 *
 * The format is described in docs/format/flame.md. Every count is compared with the bytes that are
 * left before anything is allocated for it, so foreign bytes cost no more memory than their size.
 */
import { crc32c } from './crc32c.ts';

/**
 * A call tree as columns, one row per node, nodes in pre-order.
 *
 * Shape: the three columns have equal length; the sum of `childCount` is one less than that length
 * (or the tree is empty). Units: `self` in the profile type's unit.
 */
export interface FlameData {
  /** Distinct function names; nodes point into it. */
  names: string[];
  childCount: Uint32Array;
  nameIndex: Uint32Array;
  self: Float64Array;
}

/** The bytes are not a flame graph that this reader understands. */
export class FlameFormatError extends Error {
  override name = 'FlameFormatError';
}

/** Largest number of nodes that is accepted. */
export const MAX_NODES = 16 * 1024 * 1024;
/** Largest number of distinct names that is accepted. */
export const MAX_NAMES = 4 * 1024 * 1024;

const MAGIC = 'AFG1';
const CHECKSUM_BYTES = 4;
const MIN_BYTES_PER_NODE = 3;

/** Decodes a whole message. Throws `FlameFormatError` on anything that is not one. */
export function decodeFlame(bytes: Uint8Array): FlameData {
  const body = checkedBody(bytes);
  const reader = new VarintReader(body, MAGIC.length);
  const names = readNames(reader);
  const nodeCount = reader.count('node count', MAX_NODES, MIN_BYTES_PER_NODE);
  const childCount = readCounts(reader, nodeCount);
  const nameIndex = readNameIndex(reader, nodeCount, names.length);
  const self = new Float64Array(nodeCount);
  for (let i = 0; i < nodeCount; i++) self[i] = reader.varint();
  if (reader.left() !== 0) throw new FlameFormatError(`${reader.left()} bytes after the last column`);
  return { names, childCount, nameIndex, self };
}

function checkedBody(bytes: Uint8Array): Uint8Array {
  if (bytes.length < MAGIC.length + CHECKSUM_BYTES) throw new FlameFormatError('flame graph is truncated');
  const magic = String.fromCharCode(...bytes.subarray(0, MAGIC.length));
  if (magic !== MAGIC) throw new FlameFormatError(`not a flame graph: it does not start with ${MAGIC}`);
  const body = bytes.subarray(0, bytes.length - CHECKSUM_BYTES);
  const stored = new DataView(bytes.buffer, bytes.byteOffset + body.length, CHECKSUM_BYTES).getUint32(0, true);
  if (crc32c(body) !== stored) throw new FlameFormatError('flame graph is damaged: checksum mismatch');
  return body;
}

function readNames(reader: VarintReader): string[] {
  const count = reader.count('name count', MAX_NAMES, 1);
  const decoder = new TextDecoder();
  const names: string[] = [];
  for (let i = 0; i < count; i++) names.push(decoder.decode(reader.take(reader.varint())));
  return names;
}

/** Reads the child counts and checks that they describe exactly one tree. */
function readCounts(reader: VarintReader, nodeCount: number): Uint32Array {
  const counts = new Uint32Array(nodeCount);
  let expected = nodeCount === 0 ? 0 : 1;
  for (let i = 0; i < nodeCount; i++) {
    if (expected === i) throw new FlameFormatError(`tree ends at node ${i} of ${nodeCount}`);
    const children = reader.varint();
    expected += children;
    if (expected > nodeCount) throw new FlameFormatError(`node ${i} has more children than there are nodes`);
    counts[i] = children;
  }
  if (expected !== nodeCount) throw new FlameFormatError('tree is incomplete');
  return counts;
}

function readNameIndex(reader: VarintReader, nodeCount: number, nameCount: number): Uint32Array {
  const column = new Uint32Array(nodeCount);
  for (let i = 0; i < nodeCount; i++) {
    const index = reader.varint();
    if (index >= nameCount) throw new FlameFormatError(`node ${i} points at name ${index} of ${nameCount}`);
    column[i] = index;
  }
  return column;
}

class VarintReader {
  constructor(
    private readonly bytes: Uint8Array,
    private position: number,
  ) {}

  left(): number {
    return this.bytes.length - this.position;
  }

  /** An unsigned LEB128 number; above 2^53 it is rounded to the nearest double. */
  varint(): number {
    let value = 0;
    let scale = 1;
    for (let length = 1; length <= 10; length++) {
      if (this.position >= this.bytes.length) throw new FlameFormatError('flame graph is truncated');
      const byte = this.bytes[this.position++];
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 128;
    }
    throw new FlameFormatError('number is longer than 64 bits');
  }

  /** A count of items that need at least `bytesPerItem` bytes each. */
  count(what: string, limit: number, bytesPerItem: number): number {
    const value = this.varint();
    if (value > limit) throw new FlameFormatError(`${what} ${value} is above the limit of ${limit}`);
    if (value * bytesPerItem > this.left()) throw new FlameFormatError(`${what} ${value} does not fit the message`);
    return value;
  }

  take(length: number): Uint8Array {
    if (length > this.left()) throw new FlameFormatError('flame graph is truncated');
    this.position += length;
    return this.bytes.subarray(this.position - length, this.position);
  }
}
