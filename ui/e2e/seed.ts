/**
 * Sends known profiles through the server's public interface before the tests run.
 *
 * Every run has its own services, so that values are exact on any server, whatever else it holds.
 */

export const CPU = 'process_cpu:cpu:nanoseconds:cpu:nanoseconds';
export const ALLOC = 'memory:alloc_space:bytes::';

const SERVICES = ['shop', 'cart', 'deep', 'wide', 'many', 'huge', 'walk'] as const;

/** Name of a service of this run. */
export function service(name: (typeof SERVICES)[number]): string {
  return `e2e-${process.env.ARGAND_E2E_RUN}-${name}`;
}

/** Levels of the deep service, without the root. */
export const DEEP = 300;
/** Functions of the service that has more than are shown at first; a seventh of them has the least weight. */
export const MANY = 20_000;
/** Functions of a service whose whole graph is large enough for a worker. */
export const HUGE = 60_000;
/** Functions of the wide service. */
export const WIDE = 1000;

const SHOP = ['main;handle;parse 70', 'main;handle;render 20', 'main;idle 10'];

export default async function seed(): Promise<void> {
  const server = process.env.ARGAND_URL;
  if (server === undefined || server === '') {
    throw new Error('ARGAND_URL is not set: start a server and pass its address, as in ARGAND_URL=http://127.0.0.1:4040 npm run e2e');
  }
  process.env.ARGAND_E2E_RUN = Date.now().toString(36);
  const base = server.replace(/\/*$/, '/');
  await ingest(base, `${service('shop')}.cpu{region=eu,env=prod}`, SHOP);
  await ingest(base, `${service('shop')}.alloc_space{region=eu,env=prod}`, ['main;handle;grow 1048576']);
  await ingest(base, `${service('cart')}.cpu{region=eu}`, ['main;eu_work 30']);
  await ingest(base, `${service('cart')}.cpu{region=us}`, ['main;us_work 10']);
  const deep = Array.from({ length: DEEP }, (_, level) => `level${level}`);
  await ingest(base, `${service('deep')}.cpu`, [`${deep.join(';')} 1`]);
  const wide = Array.from({ length: WIDE }, (_, i) => `main;f${String(i).padStart(4, '0')} 1`);
  await ingest(base, `${service('wide')}.cpu`, wide);
  const many = Array.from({ length: MANY }, (_, i) => `main;f${i} ${1 + (i % 7)}`);
  await ingestInParts(base, `${service('many')}.cpu`, many);
  await ingestInParts(base, `${service('huge')}.cpu`, Array.from({ length: HUGE }, (_, i) => `main;package.function${i} 1`));
  await ingest(base, `${service('walk')}.cpu`, ['main;walk;visit 10', 'main;walk;walk;visit 20', 'main;walk;walk;walk 30', 'main;load;parse 40']);
  await visible(base);
}

/** The server takes no more than 16,000 samples in one profile. */
async function ingestInParts(base: string, name: string, stacks: string[]): Promise<void> {
  for (let at = 0; at < stacks.length; at += 10_000) await ingest(base, name, stacks.slice(at, at + 10_000));
}

async function ingest(base: string, name: string, stacks: string[]): Promise<void> {
  const until = Math.floor(Date.now() / 1000) - 600;
  const query = new URLSearchParams({
    name,
    from: String(until - 10),
    until: String(until),
    sampleRate: '100',
    format: 'groups',
  });
  const response = await fetch(`${base}ingest?${query}`, { method: 'POST', body: `${stacks.join('\n')}\n` });
  if (!response.ok) throw new Error(`${name} was not accepted: ${response.status} ${await response.text()}`);
}

/** Waits until the server shows everything that was sent. */
async function visible(base: string): Promise<void> {
  const wanted = SERVICES.map(service);
  for (let attempt = 0; attempt < 100; attempt++) {
    const response = await fetch(`${base}api/v1/services?from=now-1h&to=now`);
    const { services } = (await response.json()) as { services: { name: string }[] };
    if (wanted.every((name) => services.some((found) => found.name === name))) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error('the seeded services did not appear within 20 seconds');
}
