/** Deterministic profiles of made-up services, so that the page has something to show in development. */
import type { MockServer } from './mock.ts';
import type { Stack } from './tree.ts';

const MINUTE = 60_000;

/** Fills the server with the last `minutes` minutes of three services. */
export function seed(server: MockServer, now: number, minutes = 60): void {
  for (const { app, language, labels } of APPS) {
    const random = generator(app.length * 7919);
    const shapes = stackShapes(language, random, 420);
    for (let minute = 0; minute < minutes; minute++) {
      const load = 0.55 + 0.35 * Math.sin(minute / 9) + 0.25 * random();
      const stacks = shapes.map(({ frames, value }) => ({ frames, value: Math.ceil(value * load * (0.6 + random() * 0.8)) }));
      const region = labels[minute % labels.length];
      const name = `${app}{region=${region},version=v2.${minute < 40 ? 3 : 4}}`;
      server.ingest(name, stacks, now - (minutes - minute) * MINUTE + 30_000);
    }
  }
}

const APPS = [
  { app: 'checkout.cpu', language: 'go', labels: ['eu-west', 'us-east'] },
  { app: 'checkout.alloc_space', language: 'go', labels: ['eu-west', 'us-east'] },
  { app: 'catalog.cpu', language: 'java', labels: ['eu-west'] },
  { app: 'recommender.cpu', language: 'python', labels: ['us-east', 'ap-south'] },
] as const;

const FRAMES: Record<string, { roots: string[]; packages: string[]; verbs: string[]; join: (pkg: string, verb: string) => string }> = {
  go: {
    roots: ['runtime.goexit', 'net/http.(*conn).serve', 'net/http.serverHandler.ServeHTTP', 'github.com/go-chi/chi/v5.(*Mux).ServeHTTP'],
    packages: [
      'github.com/acme/checkout/cart.(*Service)',
      'github.com/acme/checkout/payment.(*Gateway)',
      'github.com/acme/checkout/store.(*Postgres)',
      'encoding/json.(*decodeState)',
      'encoding/json.(*encodeState)',
      'database/sql.(*DB)',
      'crypto/tls.(*Conn)',
      'compress/gzip.(*Writer)',
      'runtime',
      'strconv',
    ],
    verbs: ['Handle', 'Load', 'Save', 'Validate', 'Query', 'scan', 'marshal', 'Write', 'Read', 'mallocgc', 'memmove', 'quote'],
    join: (pkg, verb) => `${pkg}.${verb}`,
  },
  java: {
    roots: ['java/lang/Thread.run', 'java/util/concurrent/ThreadPoolExecutor.runWorker', 'org/apache/tomcat/util/net/NioEndpoint$SocketProcessor.doRun'],
    packages: [
      'com/acme/catalog/ProductController',
      'com/acme/catalog/search/Index',
      'com/acme/catalog/PriceService',
      'org/hibernate/internal/SessionImpl',
      'com/fasterxml/jackson/databind/ObjectMapper',
      'java/util/HashMap',
      'java/util/regex/Pattern$Loop',
      'org/springframework/web/servlet/DispatcherServlet',
    ],
    verbs: ['doDispatch', 'find', 'score', 'getNode', 'match', 'writeValue', 'flush', 'load', 'merge', 'resolve'],
    join: (pkg, verb) => `${pkg}.${verb}`,
  },
  python: {
    roots: ['app/main.py:<module>', 'uvicorn/server.py:run', 'asyncio/base_events.py:run_forever', 'starlette/routing.py:app'],
    packages: ['app/model.py', 'app/features.py', 'app/api.py', 'numpy/core/multiarray.py', 'pandas/core/frame.py', 'json/encoder.py', 'sqlalchemy/orm/query.py'],
    verbs: ['predict', 'embed', 'rank', 'dot', 'merge', 'iterencode', 'all', 'transform', '<listcomp>', 'normalize'],
    join: (pkg, verb) => `${pkg}:${verb}`,
  },
};

function stackShapes(language: string, random: () => number, count: number): Stack[] {
  const { roots, packages, verbs, join } = FRAMES[language];
  const pick = <T>(items: readonly T[], skew: number) => items[Math.floor(items.length * random() ** skew)];
  const shapes: Stack[] = [];
  for (let i = 0; i < count; i++) {
    const depth = 3 + Math.floor(random() ** 1.4 * 16);
    const frames = [...roots];
    for (let level = 0; level < depth; level++) frames.push(join(pick(packages, 1.7), pick(verbs, 1.9)));
    shapes.push({ frames, value: 1 + Math.floor(90 * random() ** 5) });
  }
  return shapes;
}

/** Mulberry32: small, fast, seeded. */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
