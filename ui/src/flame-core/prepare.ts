/** From the bytes of an answer to a tree that can be drawn: the part of the work that grows with the tree. */
import { decodeFlame } from './decode.ts';
import { layoutFlame, type Flame } from './layout.ts';

/** What is asked for. Plain data, so that it can be sent to a worker. */
export interface Job {
  /** A whole message as `decodeFlame` reads it. */
  readonly bytes: Uint8Array;
}

/** What a worker answers: the tree, or why there is none. */
export type JobAnswer = { readonly flame: Flame } | { readonly error: string };

/** Does a job. Throws what `decodeFlame` throws. */
export function prepare(job: Job): Flame {
  return layoutFlame(decodeFlame(job.bytes));
}

/** The memory of a tree's columns, to be handed over instead of copied. */
export function buffersOf(flame: Flame): ArrayBuffer[] {
  const columns = Object.values(flame).filter((value) => ArrayBuffer.isView(value));
  return columns.map((column) => column.buffer as ArrayBuffer);
}
