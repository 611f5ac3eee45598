import { describe, expect, test, vi } from 'vitest';
import { encodeFlame } from '../flame-core/encode.ts';
import { layoutFlame } from '../flame-core/layout.ts';
import { prepare, type Job, type JobAnswer } from '../flame-core/prepare.ts';
import { chain, treeData } from '../flame-core/testing.ts';
import { DIRECT_BYTES, DIRECT_NODES, JobRunner, type JobWorker } from './run.ts';

vi.mock('./flame-worker.ts?worker&url', () => ({ default: 'flame-worker.js' }));

/** A worker that answers when told to. */
class FakeWorker implements JobWorker {
  onmessage: JobWorker['onmessage'] = null;
  onmessageerror: JobWorker['onmessageerror'] = null;
  onerror: JobWorker['onerror'] = null;
  job: Job | null = null;
  terminated = false;

  postMessage(job: Job): void {
    this.job = job;
  }
  terminate(): void {
    this.terminated = true;
  }
  answer(answer?: JobAnswer): void {
    this.onmessage?.({ data: answer ?? { flame: prepare(this.job!) } } as MessageEvent<JobAnswer>);
  }
}

function runner(): { jobs: JobRunner; workers: FakeWorker[] } {
  const workers: FakeWorker[] = [];
  const jobs = new JobRunner(() => {
    workers.push(new FakeWorker());
    return workers[workers.length - 1];
  });
  return { jobs, workers };
}

const never = new AbortController().signal;
const small: Job = { source: encodeFlame(treeData('total\n  main 3')), steps: [] };
/** A node takes three bytes or more. */
const LEVELS = Math.ceil(DIRECT_BYTES / 3);
const large: Job = { source: encodeFlame(chain(LEVELS)), steps: [] };

describe('jobs', () => {
  test('small ones need no worker, large ones are handed over', async () => {
    const { jobs, workers } = runner();
    expect(await jobs.run(small, never)).toEqual(layoutFlame(treeData('total\n  main 3')));
    expect(workers).toEqual([]);
    const answer = jobs.run(large, never);
    workers[0].answer();
    expect((await answer).depth).toBe(LEVELS);
  });

  test('trees that are here already are changed in the same way', async () => {
    const { jobs, workers } = runner();
    const steps = [{ kind: 'callees', of: 'f1' }] as const;
    const near = jobs.run({ source: chain(100), steps }, never);
    expect((await near).depth).toBe(99);
    const far = jobs.run({ source: chain(DIRECT_NODES + 1), steps }, never);
    workers[0].answer();
    expect((await far).depth).toBe(DIRECT_NODES);
  });

  test('one worker serves one job after another, two at the same time need two', async () => {
    const { jobs, workers } = runner();
    for (let i = 0; i < 3; i++) {
      const answer = jobs.run(large, never);
      workers[0].answer();
      await answer;
    }
    const both = [jobs.run(large, never), jobs.run(large, never)];
    expect(workers.length).toBe(2);
    workers[1].answer();
    workers[0].answer();
    await Promise.all(both);
    expect(workers.map((worker) => worker.terminated)).toEqual([true, false]);
  });

  test('a worker that is expected starts early and is used', async () => {
    const { jobs, workers } = runner();
    jobs.expect(DIRECT_BYTES);
    expect(workers.length).toBe(0);
    jobs.expect(DIRECT_BYTES + 1);
    jobs.expect(DIRECT_BYTES + 2);
    const answer = jobs.run(large, never);
    workers[0].answer();
    await answer;
    expect(workers.length).toBe(1);
  });

  test('a worker that fails before its first job is not waited for', async () => {
    const { jobs, workers } = runner();
    jobs.expect(DIRECT_BYTES + 1);
    workers[0].onerror!({ preventDefault() {} } as ErrorEvent);
    const answer = jobs.run(large, never);
    workers[1].answer();
    await answer;
  });

  test('an aborted job ends with its worker, and its answer never arrives', async () => {
    const { jobs, workers } = runner();
    const abort = new AbortController();
    const stale = jobs.run(large, abort.signal);
    abort.abort(new Error('superseded'));
    workers[0].answer();
    await expect(stale).rejects.toThrow('superseded');
    expect(workers[0].terminated).toBe(true);
    const fresh = jobs.run(large, never);
    workers[1].answer();
    await fresh;
    await expect(jobs.run(small, abort.signal)).rejects.toThrow('superseded');
  });

  test('errors are told in words', async () => {
    const { jobs, workers } = runner();
    await expect(jobs.run({ source: new Uint8Array(3), steps: [] }, never)).rejects.toThrow('truncated');
    const damaged = jobs.run(large, never);
    workers[0].answer({ error: 'flame graph is damaged' });
    await expect(damaged).rejects.toThrow('flame graph is damaged');
    const broken = jobs.run(large, never);
    workers[0].onerror!({ message: 'out of memory', preventDefault() {} } as ErrorEvent);
    await expect(broken).rejects.toThrow('the flame graph cannot be read: out of memory');
    expect(workers[0].terminated).toBe(true);
    const missing = jobs.run(large, never);
    workers[1].onerror!({ preventDefault() {} } as ErrorEvent);
    await expect(missing).rejects.toThrow('reload the page');
  });
});
