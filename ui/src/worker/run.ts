/**
 * Runs jobs: small ones at once, large ones in a worker, so that the page stays responsive.
 *
 * A job that is aborted ends at once, with its worker. No more than one idle worker is kept.
 */
import { prepare, type Job, type JobAnswer } from '../flame-core/prepare.ts';
import type { Flame } from '../flame-core/index.ts';
import workerUrl from './flame-worker.ts?worker&url';

/**
 * Larger messages go to a worker. Half a megabyte is some 80,000 nodes, 25 to 70 ms of work, depending on how
 * busy the machine is; a worker takes 150 ms to start on the same machine, so small graphs would be seen later.
 */
export const DIRECT_BYTES = 512 * 1024;
/** The same limit for a tree whose columns are here already. */
export const DIRECT_NODES = 80_000;

/** What is needed of `Worker`. */
export interface JobWorker {
  onmessage: ((event: MessageEvent<JobAnswer>) => void) | null;
  onmessageerror: ((event: MessageEvent) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
  postMessage(job: Job, transfer: Transferable[]): void;
  terminate(): void;
}

/** Does jobs in this thread or in a worker that `start` gives. */
export class JobRunner {
  private idle: JobWorker | null = null;

  constructor(private readonly start: () => JobWorker) {}

  /** Says how large the next job's message is at least, so that a worker starts while the rest arrives. */
  expect(bytes: number): void {
    if (bytes <= DIRECT_BYTES || this.idle !== null) return;
    const worker = this.start();
    // If it does not load, the job starts another one and tells what is wrong with that.
    worker.onerror = (event) => {
      event.preventDefault();
      if (this.idle === worker) this.idle = null;
    };
    this.idle = worker;
  }

  /**
   * Does a job; takes the memory of a message, but copies columns. Rejects with the reason of the signal if
   * that aborts first.
   */
  async run(job: Job, signal: AbortSignal): Promise<Flame> {
    signal.throwIfAborted();
    const { source } = job;
    const isSmall = source instanceof Uint8Array ? source.length <= DIRECT_BYTES : source.self.length <= DIRECT_NODES;
    return isSmall ? prepare(job) : this.runInWorker(job, signal);
  }

  private runInWorker(job: Job, signal: AbortSignal): Promise<Flame> {
    return new Promise((resolve, reject) => {
      const worker = this.idle ?? this.start();
      this.idle = null;
      const finish = (reusable: boolean) => {
        signal.removeEventListener('abort', abort);
        worker.onmessage = worker.onmessageerror = worker.onerror = null;
        if (reusable && this.idle === null) this.idle = worker;
        else worker.terminate();
      };
      const fail = (message: string) => {
        finish(false);
        reject(new Error(message));
      };
      const abort = () => {
        finish(false);
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', abort);
      worker.onmessage = ({ data }) => {
        finish(true);
        if ('flame' in data) resolve(data.flame);
        else reject(new Error(data.error));
      };
      worker.onmessageerror = () => fail('the flame graph is too large for this browser: ask for fewer nodes');
      worker.onerror = (event) => {
        event.preventDefault();
        // Without a message the script itself did not load, as after an update of the server.
        fail(event.message ? `the flame graph cannot be read: ${event.message}` : 'a part of this page cannot be loaded: reload the page');
      };
      worker.postMessage(job, job.source instanceof Uint8Array ? [job.source.buffer as ArrayBuffer] : []);
    });
  }
}

/** The one runner of the page. */
export const jobs = new JobRunner(() => new Worker(trustedUrl(workerUrl), { type: 'module' }));

interface TrustedTypes {
  createPolicy(name: string, rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): string };
}

/** The page's policy lets scripts of workers come from a named policy only; ours knows a single address. */
function trustedUrl(url: string): string {
  const { trustedTypes } = globalThis as { trustedTypes?: TrustedTypes };
  scriptPolicy ??= trustedTypes?.createPolicy('argand', {
    createScriptURL: (asked) => {
      if (asked !== workerUrl) throw new Error(`not a script of this page: ${asked}`);
      return asked;
    },
  });
  return scriptPolicy?.createScriptURL(url) ?? url;
}

let scriptPolicy: ReturnType<TrustedTypes['createPolicy']> | undefined;
