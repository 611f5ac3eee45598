/** From the bytes of an answer to a tree that can be drawn: the part of the work that grows with the tree. */
import { decodeFlame, type FlameData } from './decode.ts';
import { layoutFlame, type Flame } from './layout.ts';
import { applyStep, type Step } from './transform.ts';

/** What is asked for. Plain data, so that it can be sent to a worker. */
export interface Job {
  /** A whole message as `decodeFlame` reads it, or the columns of a tree. */
  readonly source: Uint8Array | FlameData;
  /** Changes of the tree, in this order. */
  readonly steps: readonly Step[];
}

/** What a worker answers: the tree, or why there is none. */
export type JobAnswer = { readonly flame: Flame } | { readonly error: string };

/** Does a job. Throws what `decodeFlame` throws. */
export function prepare({ source, steps }: Job): Flame {
  const data = source instanceof Uint8Array ? decodeFlame(source) : source;
  return steps.reduce((flame, step) => layoutFlame(applyStep(flame, step)), layoutFlame(data));
}

/** The memory of a tree's columns, to be handed over instead of copied. */
export function buffersOf(flame: Flame): ArrayBuffer[] {
  const columns = Object.values(flame).filter((value) => ArrayBuffer.isView(value));
  return columns.map((column) => column.buffer as ArrayBuffer);
}
