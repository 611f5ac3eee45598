/** Does jobs one after another, off the thread that draws. */
import { buffersOf, prepare, type Job, type JobAnswer } from '../flame-core/prepare.ts';

addEventListener('message', ({ data }: MessageEvent<Job>) => {
  try {
    const flame = prepare(data);
    answer({ flame }, buffersOf(flame));
  } catch (error) {
    answer({ error: (error as Error).message });
  }
});

function answer(message: JobAnswer, transfer: Transferable[] = []): void {
  postMessage(message, { transfer });
}
