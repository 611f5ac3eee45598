/** The server's `/api/v1`, found relative to the page so that any base path works. */
import type { Flame } from '../flame-core/index.ts';
import type { TimeRange } from '../state/time.ts';
import { markTime } from '../state/timing.ts';
import { jobs } from '../worker/run.ts';

/** An answer that is not a success, in words that can be shown. */
export class ApiError extends Error {
  override name = 'ApiError';
  constructor(
    message: string,
    /** HTTP status; 0 if the server was not reached. */
    readonly status: number,
    readonly code: string,
  ) {
    super(message);
  }
}

export interface Service {
  name: string;
  profile_types: string[];
}

export interface Timeline {
  /** Epoch milliseconds. */
  start: number;
  end: number;
  /** Bucket width in milliseconds. */
  step: number;
  series: { labels: Record<string, string>; points: [number, number][] }[];
}

export interface FunctionRow {
  name: string;
  self: number;
  total: number;
}

export interface Top {
  total: number;
  unit: string;
  functions: FunctionRow[];
}

export interface FlameAnswer {
  flame: Flame;
  unit: string;
}

/** Bytes received so far. */
export type Progress = (bytes: number) => void;

/** Progress is told no more often, as every time a part of the page is drawn again. */
const PROGRESS_INTERVAL_MS = 100;
const FLAME_TYPE = 'application/vnd.argand.flame';

/** `<type>{service_name="…",<labels>}`, the query language's selector. */
export function selector(type: string, service: string, labels: string): string {
  const matchers = [service === '' ? '' : `service_name=${JSON.stringify(service)}`, labels.trim().replace(/,$/, '')];
  return `${type}{${matchers.filter((matcher) => matcher !== '').join(',')}}`;
}

export async function fetchServices(range: TimeRange, signal: AbortSignal): Promise<Service[]> {
  const body = await getJson<{ services: Service[] }>('services', { ...range }, signal);
  return body.services;
}

export async function fetchLabels(query: string, range: TimeRange, signal: AbortSignal): Promise<string[]> {
  return (await getJson<{ labels: string[] }>('labels', { ...range, query }, signal)).labels;
}

export async function fetchLabelValues(
  name: string,
  query: string,
  range: TimeRange,
  signal: AbortSignal,
): Promise<string[]> {
  return (await getJson<{ values: string[] }>('label-values', { ...range, query, name }, signal)).values;
}

export function fetchTimeline(query: string, range: TimeRange, signal: AbortSignal): Promise<Timeline> {
  return getJson<Timeline>('timeline', { ...range, query }, signal);
}

export function fetchTop(query: string, range: TimeRange, limit: number, signal: AbortSignal): Promise<Top> {
  return getJson<Top>('top', { ...range, query, limit: String(limit) }, signal);
}

export async function fetchFlame(
  query: string,
  range: TimeRange,
  maxNodes: number,
  signal: AbortSignal,
  progress: Progress,
): Promise<FlameAnswer> {
  const parameters = { ...range, query, max_nodes: String(maxNodes) };
  const response = await get('flamegraph', parameters, FLAME_TYPE, signal);
  let reported = performance.now();
  const bytes = await readBody(response, (received) => {
    jobs.expect(received);
    if (performance.now() - reported < PROGRESS_INTERVAL_MS) return;
    reported = performance.now();
    progress(received);
  });
  markTime('argand-flame-received');
  const flame = await jobs.run({ source: bytes, steps: [] }, signal);
  markTime('argand-flame-ready');
  return { flame, unit: response.headers.get('X-Argand-Unit') ?? 'count' };
}

/** Address of the pprof download of a query. */
export function profileUrl(query: string, range: TimeRange): string {
  return apiUrl('profile', { ...range, query });
}

function apiUrl(path: string, parameters: Record<string, string>): string {
  const url = new URL(`api/v1/${path}`, document.baseURI);
  url.search = new URLSearchParams(parameters).toString();
  return url.href;
}

async function getJson<T>(path: string, parameters: Record<string, string>, signal: AbortSignal): Promise<T> {
  const response = await get(path, parameters, 'application/json', signal);
  return (await response.json()) as T;
}

async function get(
  path: string,
  parameters: Record<string, string>,
  accept: string,
  signal: AbortSignal,
): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(apiUrl(path, parameters), { signal, headers: { Accept: accept } });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new ApiError('the server cannot be reached', 0, 'unavailable');
  }
  if (!response.ok) throw await errorOf(response);
  return response;
}

async function errorOf(response: Response): Promise<ApiError> {
  const text = await response.text();
  try {
    const body = JSON.parse(text) as { code?: string; message?: string };
    if (typeof body.message === 'string') return new ApiError(body.message, response.status, body.code ?? '');
  } catch {
    // Not JSON: a proxy in between answered. Its status line is all there is to show.
  }
  return new ApiError(`the server answered ${response.status} ${response.statusText}`.trim(), response.status, '');
}

async function readBody(response: Response, progress: Progress): Promise<Uint8Array> {
  if (response.body === null) return new Uint8Array();
  const chunks: Uint8Array[] = [];
  let length = 0;
  const reader = response.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    chunks.push(part.value);
    length += part.value.length;
    progress(length);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
