// Works for WORK_CPU_SECONDS under the Pyroscope SDK: 70 % in heavySeventy, 20 % in middleTwenty, 10 % in lightTen.

import v8 from 'node:v8';
import Pyroscope from '@pyroscope/nodejs';

// V8's sampler names the function that was compiled, not those inlined into it: without this the three would all be
// seen as their caller.
v8.setFlagsFromString('--no-turbo-inlining');

const UNIT = 1000;
const SLICE_MS = 50;
const FLUSH_INTERVAL_MS = 3000;
const workCpuMicros = Number(process.env.WORK_CPU_SECONDS ?? 12) * 1e6;

function heavySeventy() {
  let state = 1;
  for (let i = 0; i < 7 * UNIT; i++) state = (Math.imul(state, 1664525) + 1013904223) | 0;
  return state;
}

function middleTwenty() {
  let state = 1;
  for (let i = 0; i < 2 * UNIT; i++) state = (Math.imul(state, 1664525) + 1013904223) | 0;
  return state;
}

function lightTen() {
  let state = 1;
  for (let i = 0; i < UNIT; i++) state = (Math.imul(state, 1664525) + 1013904223) | 0;
  return state;
}

function allocateRecords() {
  return Array.from({ length: 20_000 }, (_, i) => ({ id: i, name: `record ${i}` }));
}

function workSlice() {
  const end = performance.now() + SLICE_MS;
  let sum = 0;
  while (performance.now() < end) sum += heavySeventy() + middleTwenty() + lightTen();
  return sum;
}

function cpuTimeMicros() {
  const { user, system } = process.cpuUsage();
  return user + system;
}

// Slices, because the SDK flushes from timers: they need a turn of the event loop now and then.
async function workFor(cpuMicros) {
  const end = cpuTimeMicros() + cpuMicros;
  while (cpuTimeMicros() < end) {
    Pyroscope.wrapWithLabels({ endpoint: '/orders' }, workSlice);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

Pyroscope.init({
  serverAddress: process.env.PYROSCOPE_SERVER_ADDRESS,
  appName: process.env.PYROSCOPE_APPLICATION_NAME,
  tags: { stage: 'test' },
  flushIntervalMs: FLUSH_INTERVAL_MS,
  wall: { collectCpuTime: true, samplingDurationMs: FLUSH_INTERVAL_MS },
  heap: { samplingIntervalBytes: 64 * 1024 },
});
Pyroscope.start();
const kept = allocateRecords();
await workFor(workCpuMicros);
await Pyroscope.stop();
console.log(`done, ${kept.length} records kept`);
