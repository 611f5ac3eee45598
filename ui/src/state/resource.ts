/** One remote value: loads when asked, keeps the last value while the next one loads, drops stale answers. */
import { signal, type ReadonlySignal } from '@preact/signals';

export interface Loaded<T> {
  readonly value: T | null;
  readonly error: Error | null;
  readonly loading: boolean;
  /** Bytes received of the answer under way. */
  readonly received: number;
}

export interface Resource<T> {
  readonly state: ReadonlySignal<Loaded<T>>;
  /** Starts loading, aborting a load under way. */
  load(start: (abort: AbortSignal, progress: (bytes: number) => void) => Promise<T>): void;
  /** Forgets the value and aborts a load under way. */
  clear(): void;
}

export function createResource<T>(): Resource<T> {
  const idle: Loaded<T> = { value: null, error: null, loading: false, received: 0 };
  const state = signal<Loaded<T>>(idle);
  let current = new AbortController();
  return {
    state,
    load(start) {
      current.abort();
      const controller = new AbortController();
      current = controller;
      state.value = { ...state.peek(), error: null, loading: true, received: 0 };
      const settle = (outcome: Partial<Loaded<T>>) => {
        if (!controller.signal.aborted) state.value = { ...state.peek(), ...outcome };
      };
      start(controller.signal, (received) => settle({ received })).then(
        (value) => settle({ value, error: null, loading: false }),
        (error: Error) => settle({ value: null, error, loading: false }),
      );
    },
    clear() {
      current.abort();
      state.value = idle;
    },
  };
}
