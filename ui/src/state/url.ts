/**
 * The page's whole state and its query-string form.
 *
 * Version 1 is written without a marker; `decodeState` ignores what it does not know and replaces what
 * is malformed by the default, so a link never fails to open. `decodeState(encodeState(s))` equals `s`
 * for every valid state.
 */
import { DEFAULT_RANGE, isTime } from './time.ts';

/** Version of the query-string form; written as `v` from version 2 on. */
export const STATE_VERSION = 1;

export type ViewMode = 'both' | 'flame' | 'table';
/** Root at the top, root at the bottom, or the callers and callees of the selected function. */
export type Shape = 'icicle' | 'flame' | 'sandwich';
export type SortColumn = 'name' | 'self' | 'total';

/** Visible range as shares of the total, when it is not exactly the zoomed node's. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

export interface ViewState {
  readonly service: string;
  /** Profile type id. */
  readonly type: string;
  /** Label matchers as typed, without braces: `region="eu", env=~"prod.*"`. */
  readonly labels: string;
  readonly from: string;
  readonly to: string;
  /** Seconds between automatic refreshes; 0 is off. */
  readonly refresh: number;
  readonly search: string;
  readonly regex: boolean;
  /** Selected function. */
  readonly selected: string;
  /** `pathKey` of the zoomed node; empty is the root. */
  readonly zoom: string;
  readonly span: Span | null;
  readonly view: ViewMode;
  readonly shape: Shape;
  /** Show only what this function calls. */
  readonly focus: string;
  /** Show functions that call themselves as one bar. */
  readonly collapse: boolean;
  readonly colourBy: 'package' | 'name';
  readonly sort: SortColumn;
  readonly ascending: boolean;
  readonly maxNodes: number;
}

export const DEFAULT_STATE: ViewState = {
  service: '',
  type: '',
  labels: '',
  ...DEFAULT_RANGE,
  refresh: 0,
  search: '',
  regex: false,
  selected: '',
  zoom: '',
  span: null,
  view: 'both',
  shape: 'icicle',
  focus: '',
  collapse: false,
  colourBy: 'package',
  sort: 'self',
  ascending: false,
  maxNodes: 16384,
};

export const REFRESH_CHOICES: readonly number[] = [0, 5, 15, 60, 300];
export const NODE_CHOICES: readonly number[] = [16384, 65536, 262144, 1048576];

interface Codec<T> {
  readonly key: string;
  write(value: T): string;
  /** Undefined if the text is not a value. */
  read(text: string): T | undefined;
}

const CODECS: { readonly [Field in keyof ViewState]: Codec<ViewState[Field]> } = {
  service: text('service'),
  type: text('type'),
  labels: text('labels'),
  from: { ...text('from'), read: (value) => (isTime(value) ? value : undefined) },
  to: { ...text('to'), read: (value) => (isTime(value) ? value : undefined) },
  refresh: numberOf('refresh', REFRESH_CHOICES),
  search: text('q'),
  regex: flag('regex'),
  selected: text('fn'),
  zoom: { ...text('zoom'), read: (value) => (/^[0-9a-f]{16}$/.test(value) ? value : undefined) },
  span: { key: 'span', write: writeSpan, read: readSpan },
  view: oneOf('view', ['both', 'flame', 'table']),
  shape: oneOf('dir', ['icicle', 'flame', 'sandwich']),
  focus: text('focus'),
  collapse: flag('collapse'),
  colourBy: oneOf('colour', ['package', 'name']),
  sort: oneOf('sort', ['name', 'self', 'total']),
  ascending: flag('asc'),
  maxNodes: numberOf('nodes', NODE_CHOICES),
};

const FIELDS = Object.keys(CODECS) as (keyof ViewState)[];

/** The query string of a state, without `?`; fields with their default value are left out. */
export function encodeState(state: ViewState): string {
  const params = new URLSearchParams();
  for (const field of FIELDS) encodeField(params, field, state);
  return params.toString();
}

/** The state of a query string, with or without `?`. */
export function decodeState(query: string): ViewState {
  const params = new URLSearchParams(query);
  const state: Partial<Record<keyof ViewState, unknown>> = {};
  for (const field of FIELDS) {
    const raw = params.get(CODECS[field].key);
    state[field] = (raw === null ? undefined : CODECS[field].read(raw)) ?? DEFAULT_STATE[field];
  }
  return state as unknown as ViewState;
}

function encodeField<Field extends keyof ViewState>(params: URLSearchParams, field: Field, state: ViewState): void {
  const codec: Codec<ViewState[Field]> = CODECS[field];
  const written = codec.write(state[field]);
  if (written !== codec.write(DEFAULT_STATE[field])) params.set(codec.key, written);
}

function text(key: string): Codec<string> {
  return { key, write: (value) => value, read: (value) => value };
}

function flag(key: string): Codec<boolean> {
  return { key, write: (value) => (value ? '1' : '0'), read: (value) => value === '1' };
}

function oneOf<T extends string>(key: string, choices: readonly T[]): Codec<T> {
  return { key, write: (value) => value, read: (value) => choices.find((choice) => choice === value) };
}

function numberOf(key: string, choices: readonly number[]): Codec<number> {
  return { key, write: String, read: (value) => choices.find((choice) => String(choice) === value) };
}

function writeSpan(span: Span | null): string {
  return span === null ? '' : `${span.from}_${span.to}`;
}

function readSpan(value: string): Span | undefined {
  const [from, to, ...rest] = value.split('_').map(Number);
  return rest.length === 0 && from >= 0 && from < to && to <= 1 ? { from, to } : undefined;
}
