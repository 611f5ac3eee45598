/** Writer of the binary columnar flame graph; the counterpart of `decode.ts`. */
import { crc32c } from './crc32c.ts';
import type { FlameData } from './decode.ts';

/** Encodes a tree. `self` values must be non-negative safe integers. */
export function encodeFlame(data: FlameData): Uint8Array {
  const writer = new ByteWriter();
  writer.bytes(new TextEncoder().encode('AFG1'));
  writer.varint(data.names.length);
  for (const name of data.names) {
    const utf8 = new TextEncoder().encode(name);
    writer.varint(utf8.length);
    writer.bytes(utf8);
  }
  writer.varint(data.childCount.length);
  for (const column of [data.childCount, data.nameIndex, data.self]) {
    for (let i = 0; i < column.length; i++) writer.varint(column[i]);
  }
  const checksum = new Uint8Array(4);
  new DataView(checksum.buffer).setUint32(0, crc32c(writer.written()), true);
  writer.bytes(checksum);
  return writer.written();
}

class ByteWriter {
  private buffer = new Uint8Array(1024);
  private length = 0;

  written(): Uint8Array {
    return this.buffer.subarray(0, this.length);
  }

  bytes(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.buffer.set(bytes, this.length);
    this.length += bytes.length;
  }

  varint(value: number): void {
    this.reserve(10);
    while (value >= 128) {
      this.buffer[this.length++] = (value % 128) | 0x80;
      value = Math.floor(value / 128);
    }
    this.buffer[this.length++] = value;
  }

  private reserve(extra: number): void {
    if (this.length + extra <= this.buffer.length) return;
    const larger = new Uint8Array(Math.max(this.buffer.length * 2, this.length + extra));
    larger.set(this.buffer);
    this.buffer = larger;
  }
}
