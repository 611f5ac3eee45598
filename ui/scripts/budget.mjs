/** Checks the size of the built page: JavaScript of the first load, and everything together. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';

const FIRST_LOAD_GZIP = 60_000;
const ALL_BROTLI = 250_000;

const dist = fileURLToPath(new URL('../dist', import.meta.url));
const html = readFileSync(join(dist, 'index.html'), 'utf8');
const files = readdirSync(dist, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name));

let firstLoad = 0;
let all = 0;
console.log('   raw    gzip  brotli  file');
for (const file of files) {
  const bytes = readFileSync(file);
  const gzip = gzipSync(bytes, { level: 9 }).length;
  const brotli = brotliCompressSync(bytes).length;
  const name = file.slice(dist.length + 1);
  const first = name.endsWith('.js') && html.includes(name);
  if (first) firstLoad += gzip;
  all += brotli;
  console.log(`${[bytes.length, gzip, brotli].map((n) => String(n).padStart(6)).join('  ')}  ${name}${first ? '  (first load)' : ''}`);
}

report('JavaScript on first load, gzip', firstLoad, FIRST_LOAD_GZIP);
report('all assets, brotli', all, ALL_BROTLI);

function report(what, size, limit) {
  console.log(`${what}: ${size} of ${limit} bytes`);
  if (size === 0 || size > limit) process.exitCode = 1;
}
