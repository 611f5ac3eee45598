/** Rules that the compiler cannot check. Prints every breach and fails if there is one. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

const RULES = [
  { pattern: /\b(innerHTML|outerHTML|insertAdjacentHTML|dangerouslySetInnerHTML|document\.write)\b/, says: 'no markup from strings' },
  { pattern: /\b(eval|new Function)\s*\(/, says: 'no code from strings' },
  { pattern: /https?:\/\/(?!localhost|127\.0\.0\.1|www\.w3\.org)[\w.-]+\.\w+/, says: 'no other hosts' },
  { pattern: /\bconsole\.(log|debug)\(/, says: 'no console output', only: 'src/' },
  { pattern: /\b(TODO|FIXME|XXX)\b/, says: 'no leftovers' },
  { pattern: /@ts-(ignore|nocheck)|\bas any\b|: any[\[\];,)=|>]/, says: 'no escape from the type checker' },
  { pattern: /from '(preact|@preact|uplot)/, says: 'flame-core knows no framework', only: 'src/flame-core/' },
  { pattern: /from '\.\.\/(?!flame-core)/, says: 'flame-core knows nothing of the page', only: 'src/flame-core/' },
];

const MAX_LINE = 160;
const SOURCES = /\.(ts|tsx|css|html|mjs|json)$/;
const SKIPPED = new Set(['node_modules', 'dist', 'test-results', 'playwright-report', 'package-lock.json']);

const breaches = [];
for (const file of filesIn(root)) {
  const name = relative(root, file);
  if (name === 'scripts/lint.mjs') continue;
  readFileSync(file, 'utf8')
    .split('\n')
    .forEach((line, i) => {
      for (const rule of RULES) {
        if ((rule.only === undefined || name.startsWith(rule.only)) && rule.pattern.test(line)) {
          breaches.push(`${name}:${i + 1}: ${rule.says}: ${line.trim()}`);
        }
      }
      if (line.length > MAX_LINE) breaches.push(`${name}:${i + 1}: longer than ${MAX_LINE} characters`);
    });
}
checkDependencies();

for (const breach of breaches) console.error(breach);
if (breaches.length > 0) process.exit(1);
console.log('lint: ok');

function* filesIn(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (SKIPPED.has(entry.name)) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesIn(path);
    else if (SOURCES.test(entry.name)) yield path;
  }
}

/** Few packages, and a lockfile that does not say where they were downloaded from. */
function checkDependencies() {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const lock = readFileSync(join(root, 'package-lock.json'), 'utf8');
  if (Object.keys(manifest.dependencies).length > 4) breaches.push('package.json: more than 4 runtime packages');
  if (Object.keys(manifest.devDependencies).length > 12) breaches.push('package.json: more than 12 development packages');
  if (lock.includes('"resolved"')) breaches.push('package-lock.json: has download addresses');
}
