/** Deterministic profiles of made-up services, so that the page has something to show in development. */
import type { MockServer } from './mock.ts';
import { generator } from './random.ts';
import type { Stack } from './tree.ts';

const MINUTE = 60_000;

/** Fills the server with the last `minutes` minutes of three services. */
export function seed(server: MockServer, now: number, minutes = 60): void {
  for (const { app, language, labels, weight } of APPS) {
    const random = generator(app.length * 7919);
    const shapes = stackShapes(language, random, weight);
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
  { app: 'checkout.cpu', language: 'go', labels: ['eu-west', 'us-east'], weight: 4000 },
  { app: 'checkout.alloc_space', language: 'go', labels: ['eu-west', 'us-east'], weight: 4000 },
  { app: 'catalog.cpu', language: 'java', labels: ['eu-west'], weight: 9000 },
  { app: 'recommender.cpu', language: 'python', labels: ['us-east', 'ap-south'], weight: 60_000 },
] as const;

interface Vocabulary {
  roots: string[];
  packages: string[];
  verbs: string[];
  join: (pkg: string, verb: string) => string;
}

const FRAMES: Record<string, Vocabulary> = {
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
    packages: [
      'app/model.py',
      'app/features.py',
      'app/api.py',
      'numpy/core/multiarray.py',
      'pandas/core/frame.py',
      'json/encoder.py',
      'sqlalchemy/orm/query.py',
    ],
    verbs: ['predict', 'embed', 'rank', 'dot', 'merge', 'iterencode', 'all', 'transform', '<listcomp>', 'normalize'],
    join: (pkg, verb) => `${pkg}:${verb}`,
  },
};

/** Stacks of a random call tree in which a few children carry most of their caller's weight. */
function stackShapes(language: string, random: () => number, weight: number): Stack[] {
  const { roots, packages, verbs, join } = FRAMES[language];
  const pick = <T>(items: readonly T[]) => items[Math.floor(items.length * random())];
  const shapes: Stack[] = [];
  const pending = [{ frames: roots, value: weight }];
  for (let call = pending.pop(); call !== undefined; call = pending.pop()) {
    const { frames, value } = call;
    let left = value * (frames.length === roots.length ? 1 : 1 - 0.45 * random() ** 3);
    const self = Math.round(value - left);
    if (self > 0) shapes.push({ frames, value: self });
    for (let child = 0; child < 7 && left >= 1 && frames.length < 34; child++) {
      const share = Math.round(child === 6 ? left : left * (0.15 + 0.75 * random()));
      if (share > 0) pending.push({ frames: [...frames, join(pick(packages), pick(verbs))], value: share });
      left -= share;
    }
  }
  return shapes;
}
