/**
 * A small in-memory server with the product's HTTP interface, for developing the page without the product.
 *
 * It accepts folded stacks at `/ingest` and answers `/api/v1`. Label selectors are limited to
 * comma-separated matchers. Not part of what is shipped.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { encodeFlame } from '../src/flame-core/encode.ts';
import { treeOf, type Stack } from './tree.ts';

interface Profile {
  service: string;
  type: string;
  labels: Record<string, string>;
  timeMs: number;
  stacks: Stack[];
}

class BadRequest extends Error {}

const TYPES: Record<string, { id: string; scale: (sampleRate: number) => number }> = {
  cpu: { id: 'process_cpu:cpu:nanoseconds:cpu:nanoseconds', scale: (rate) => 1e9 / rate },
  wall: { id: 'wall:wall:nanoseconds:cpu:nanoseconds', scale: (rate) => 1e9 / rate },
  alloc_space: { id: 'memory:alloc_space:bytes::', scale: () => 1 },
  alloc_objects: { id: 'memory:alloc_objects:count::', scale: () => 1 },
};

export class MockServer {
  private readonly profiles: Profile[] = [];

  /** Adds a profile; `name` is an application name as in `shop.cpu{region=eu}`. */
  ingest(name: string, stacks: Stack[], timeMs: number, sampleRate = 100): void {
    const parsed = /^([\w./-]+?)(?:\.(\w+))?(?:\{(.*)\})?$/.exec(name);
    if (parsed === null) throw new BadRequest(`bad application name: ${name}`);
    const type = TYPES[parsed[2] ?? 'cpu'];
    if (type === undefined) throw new BadRequest(`unknown profile type suffix: ${parsed[2]}`);
    const pairs = (parsed[3] ?? '').split(',').filter((pair) => pair !== '');
    const labels = Object.fromEntries(pairs.map((pair) => pair.split('=').map((part) => part.trim())));
    const scaled = stacks.map(({ frames, value }) => ({ frames, value: value * type.scale(sampleRate) }));
    this.profiles.push({ service: parsed[1], type: type.id, labels, timeMs, stacks: scaled });
  }

  /** Answers a request; false if it is not for this server. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    const url = new URL(request.url ?? '/', 'http://localhost');
    if (url.pathname !== '/ingest' && !url.pathname.startsWith('/api/v1/')) return false;
    try {
      if (url.pathname === '/ingest') this.ingestRequest(url.searchParams, await bodyOf(request));
      else this.answer(url.pathname.slice('/api/v1/'.length), url.searchParams, request, response);
      if (!response.writableEnded) response.end();
    } catch (error) {
      const status = error instanceof BadRequest ? 400 : 500;
      response.statusCode = status;
      sendJson(response, { code: status === 400 ? 'invalid_argument' : 'internal', message: (error as Error).message });
    }
    return true;
  }

  private ingestRequest(query: URLSearchParams, body: string): void {
    const stacks = body.split('\n').flatMap((line): Stack[] => {
      const blank = line.lastIndexOf(' ');
      return blank < 0 ? [] : [{ frames: line.slice(0, blank).split(';'), value: Number(line.slice(blank + 1)) }];
    });
    const until = Number(query.get('until') ?? Date.now() / 1000);
    this.ingest(query.get('name') ?? '', stacks, until * 1000, Number(query.get('sampleRate') ?? 100));
  }

  private answer(path: string, query: URLSearchParams, request: IncomingMessage, response: ServerResponse): void {
    const range = rangeOf(query);
    const selected = this.profiles.filter(selectorOf(query.get('query') ?? '{}', range));
    const unit = (query.get('query') ?? '').split(':')[2] ?? 'count';
    switch (path) {
      case 'services':
        return sendJson(response, { services: servicesOf(selected) });
      case 'labels':
        return sendJson(response, { labels: distinct(selected.flatMap((p) => ['service_name', ...Object.keys(p.labels)])) });
      case 'label-values':
        return sendJson(response, { values: distinct(selected.flatMap((p) => labelsOf(p)[query.get('name') ?? ''] ?? [])) });
      case 'timeline':
        return sendJson(response, timelineOf(selected, range));
      case 'top':
        return sendJson(response, { ...topOf(selected), unit });
      case 'flamegraph':
        return sendFlame(response, request, selected, Number(query.get('max_nodes') ?? 16384), unit);
      default:
        response.statusCode = 404;
        return sendJson(response, { code: 'not_found', message: `no such endpoint: ${path}` });
    }
  }
}

interface TimeRange {
  from: number;
  to: number;
}

function rangeOf(query: URLSearchParams): TimeRange {
  const now = Date.now();
  return { from: timeOf(query.get('from') ?? 'now-1h', now), to: timeOf(query.get('to') ?? 'now', now) };
}

function timeOf(text: string, now: number): number {
  const relative = /^now(?:-(\d+)([smhdw]))?$/.exec(text);
  const unit: Record<string, number> = { s: 1e3, m: 60e3, h: 3600e3, d: 86_400e3, w: 604_800e3 };
  if (relative !== null) return relative[1] === undefined ? now : now - Number(relative[1]) * unit[relative[2]];
  if (!/^\d+$/.test(text)) throw new BadRequest(`cannot read time "${text}"`);
  return text.length > 11 ? Number(text) : Number(text) * 1000;
}

function selectorOf(text: string, range: TimeRange): (profile: Profile) => boolean {
  const parsed = /^([^{]*)\{(.*)\}$/.exec(text);
  if (parsed === null) throw new BadRequest(`cannot read query "${text}": expected {…}`);
  const matchers = parsed[2].split(',').filter((part) => part.trim() !== '').map(matcherOf);
  return (profile) =>
    (parsed[1] === '' || profile.type === parsed[1]) &&
    profile.timeMs > range.from &&
    profile.timeMs <= range.to &&
    matchers.every((matches) => matches(labelsOf(profile)));
}

function matcherOf(text: string): (labels: Record<string, string>) => boolean {
  const parsed = /^\s*([A-Za-z_]\w*)\s*(=~|!~|!=|=)\s*"(.*)"\s*$/.exec(text);
  if (parsed === null) throw new BadRequest(`cannot read label matcher "${text}": expected name="value"`);
  const [, name, operator, quoted] = parsed;
  const value = JSON.parse(`"${quoted}"`) as string;
  const positive = operator.startsWith('=');
  const pattern = operator.endsWith('~') ? new RegExp(`^(?:${value})$`) : null;
  return (labels) => {
    const actual = labels[name] ?? '';
    return (pattern === null ? actual === value : pattern.test(actual)) === positive;
  };
}

function labelsOf(profile: Profile): Record<string, string> {
  return { service_name: profile.service, ...profile.labels };
}

function servicesOf(profiles: Profile[]): { name: string; profile_types: string[] }[] {
  return distinct(profiles.map((p) => p.service)).map((name) => ({
    name,
    profile_types: distinct(profiles.filter((p) => p.service === name).map((p) => p.type)),
  }));
}

function distinct(values: string[]): string[] {
  return [...new Set(values)].sort();
}

function timelineOf(profiles: Profile[], { from, to }: TimeRange) {
  const step = Math.max(15_000, Math.ceil((to - from) / 240 / 15_000) * 15_000);
  const buckets = new Map<number, number>();
  for (const profile of profiles) {
    const bucket = Math.ceil(profile.timeMs / step) * step;
    const value = profile.stacks.reduce((sum, stack) => sum + stack.value, 0);
    buckets.set(bucket, (buckets.get(bucket) ?? 0) + value);
  }
  const points = [...buckets].sort((a, b) => a[0] - b[0]);
  return { start: from, end: to, step, series: points.length === 0 ? [] : [{ labels: {}, points }] };
}

function topOf(profiles: Profile[]) {
  const functions = new Map<string, { name: string; self: number; total: number }>();
  let total = 0;
  for (const { frames, value } of profiles.flatMap((profile) => profile.stacks)) {
    total += value;
    for (const name of new Set(frames)) {
      const row = functions.get(name) ?? { name, self: 0, total: 0 };
      row.total += value;
      if (name === frames[frames.length - 1]) row.self += value;
      functions.set(name, row);
    }
  }
  return { total, functions: [...functions.values()].sort((a, b) => b.self - a.self) };
}

function sendFlame(response: ServerResponse, request: IncomingMessage, profiles: Profile[], maxNodes: number, unit: string): void {
  if (!request.headers.accept?.includes('application/vnd.argand.flame')) throw new BadRequest('only the binary form is served');
  response.setHeader('Content-Type', 'application/vnd.argand.flame');
  response.setHeader('X-Argand-Unit', unit);
  response.end(encodeFlame(treeOf(profiles.flatMap((profile) => profile.stacks), maxNodes)));
}

function sendJson(response: ServerResponse, body: unknown): void {
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify(body));
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}
