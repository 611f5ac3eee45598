/**
 * `npm run bench [nodes…]`: frame times of the flame graph engine in a headless browser.
 *
 * Fails if up to a million nodes take longer than 16 ms per frame at the 95th percentile and `BENCH_CHECK` is set.
 */
import { fileURLToPath } from 'node:url';
import { chromium } from '@playwright/test';
import { preview } from 'vite';
import { BROWSER } from '../e2e/browser.mjs';

const SIZES = process.argv.length > 2 ? process.argv.slice(2).map(Number) : [16_384, 100_000, 1_000_000, 4_000_000];
const P95_LIMIT_MS = 16;

const server = await preview({
  configFile: fileURLToPath(new URL('vite.config.ts', import.meta.url)),
  preview: { host: '127.0.0.1', port: 0 },
});
const browser = await chromium.launch(BROWSER);
try {
  const page = await browser.newPage();
  await page.goto(server.resolvedUrls.local[0]);
  const rows = [];
  for (const size of SIZES) rows.push(await page.evaluate((nodes) => window.measure(nodes), size));
  print(rows);
  if (process.env.BENCH_CHECK && rows.some((row) => row.nodes <= 1_000_000 && row.frames.p95 > P95_LIMIT_MS)) process.exitCode = 1;
} finally {
  await browser.close();
  await server.close();
}

function print(rows) {
  const columns = [
    ['nodes', (r) => r.nodes.toLocaleString('en')],
    ['levels', (r) => r.levels],
    ['decode ms', (r) => r.decode.toFixed(0)],
    ['layout ms', (r) => r.layout.toFixed(0)],
    ['frame p50/p95/max ms', (r) => frames(r.frames)],
    ['searching', (r) => frames(r.searching)],
    ['objects', (r) => (r.objects === null ? '-' : frames(r.objects))],
    ['painted', (r) => r.painted.toLocaleString('en')],
    ['labels', (r) => r.labels],
    ['hit test µs', (r) => r.hit.toFixed(2)],
    ['regex ms', (r) => r.search.toFixed(1)],
    ['memory MB', (r) => (r.memory / 1e6).toFixed(0)],
    ['wire MB', (r) => (r.wire / 1e6).toFixed(2)],
    ['gzip MB', (r) => (r.gzip / 1e6).toFixed(2)],
  ];
  const cells = [columns.map(([title]) => title), ...rows.map((row) => columns.map(([, text]) => String(text(row))))];
  const widths = columns.map((_, i) => Math.max(...cells.map((line) => line[i].length)));
  for (const line of cells) console.log(line.map((cell, i) => cell.padStart(widths[i])).join('  '));
}

function frames({ p50, p95, max }) {
  return [p50, p95, max].map((time) => time.toFixed(1)).join(' / ');
}
