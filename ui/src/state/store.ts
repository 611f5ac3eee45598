/** The page's state and data as signals. Components read signals and call the functions below. */
import { batch, computed, effect, signal, type ReadonlySignal } from '@preact/signals';
import {
  fetchFlame,
  fetchServices,
  fetchTimeline,
  fetchTop,
  selector,
  type FlameAnswer,
  type Service,
  type Timeline,
  type Top,
} from '../api/client.ts';
import {
  compileQuery,
  dataOf,
  findNodes,
  findPath,
  foldedShare,
  functionTotals,
  NONE,
  nodesNamed,
  totalOf,
  weightOf,
  type CompiledQuery,
  type Flame,
  type NodeSet,
  type Step,
} from '../flame-core/index.ts';
import { parseProfileType, preferredType } from '../format/profile-type.ts';
import { jobs } from '../worker/run.ts';
import { createResource, type Loaded } from './resource.ts';
import { decodeState, encodeState, type ViewState } from './url.ts';

/** Most functions that the table asks the server for. */
const TOP_LIMIT = 10_000;
/** Pending URL writes are collected for this long; browsers limit how often history may change. */
const URL_WRITE_DELAY_MS = 150;
/** How far back to look before saying that no service has ever sent a profile. */
const EVER = { from: 'now-30d', to: 'now' };

export const state = signal<ViewState>(decodeState(location.search));

/** One field of the state; changes only when that field does. */
export function field<Name extends keyof ViewState>(name: Name): ReadonlySignal<ViewState[Name]> {
  return computed(() => state.value[name]);
}

let pendingWrite = 0;

/** Changes the state: `push` makes a step that the browser's back button undoes, `replace` does not. */
export function update(patch: Partial<ViewState>, how: 'push' | 'replace' = 'push'): void {
  const next = { ...state.peek(), ...patch };
  if (encodeState(next) === encodeState(state.peek())) return;
  if (how === 'push') {
    flushUrl();
    state.value = next;
    history.pushState(null, '', urlOf(next));
    return;
  }
  state.value = next;
  if (pendingWrite === 0) pendingWrite = window.setTimeout(flushUrl, URL_WRITE_DELAY_MS);
}

/** Address of the present view. */
export function shareUrl(): string {
  return new URL(urlOf(state.value), location.href).href;
}

function flushUrl(): void {
  if (pendingWrite === 0) return;
  clearTimeout(pendingWrite);
  pendingWrite = 0;
  history.replaceState(null, '', urlOf(state.peek()));
}

function urlOf(view: ViewState): string {
  const query = encodeState(view);
  return location.pathname + (query === '' ? '' : `?${query}`);
}

// Data from the server.

const services = createResource<Service[]>();
const knownServices = createResource<Service[]>();
const timeline = createResource<Timeline>();
const flame = createResource<FlameAnswer>();
const top = createResource<Top>();
const changed = createResource<Flame>();
const callees = createResource<Flame>();
const callers = createResource<Flame>();

export const servicesState = services.state;
/** Services of the last 30 days; asked for only when the chosen range has none. */
export const knownServicesState = knownServices.state;
export const timelineState = timeline.state;
export const calleesState = callees.state;
export const callersState = callers.state;
export const topState = top.state;

const refreshCount = signal(0);

/** Loads everything again. */
export function refresh(): void {
  refreshCount.value++;
}

/** Whether any request is under way. */
export const busy = computed(() =>
  [services, timeline, flame, top].some((resource) => resource.state.value.loading),
);

const rangeKey = computed(() => {
  const { from, to } = state.value;
  return JSON.stringify([from, to, refreshCount.value]);
});

const queryKey = computed(() => {
  const { service, type, labels } = state.value;
  return service === '' || type === '' ? '' : `${rangeKey.value}${JSON.stringify([service, type, labels])}`;
});

const subject = computed(() => JSON.stringify([state.value.service, state.value.type]));
const maxNodes = field('maxNodes');
const wantsTable = computed(() => state.value.view !== 'flame');

/** Starts following the state with requests and the address bar with the state. */
export function startStore(): void {
  addEventListener('popstate', () => {
    clearTimeout(pendingWrite);
    pendingWrite = 0;
    state.value = decodeState(location.search);
  });
  addEventListener('pagehide', flushUrl);
  effect(() => {
    rangeKey.value;
    const { from, to } = state.peek();
    services.load((abort) => fetchServices({ from, to }, abort));
  });
  effect(() => {
    const found = services.state.value;
    if (!found.loading && found.value?.length === 0) knownServices.load((abort) => fetchServices(EVER, abort));
  });
  effect(chooseDefaults);
  effect(() => {
    // What another service or profile type showed must not stay on the page as if it were this one's.
    subject.value;
    for (const resource of [timeline, flame, top]) resource.clear();
  });
  effect(() => {
    if (queryKey.value === '') return timeline.clear();
    const { query, range } = request();
    timeline.load((abort) => fetchTimeline(query, range, abort));
  });
  effect(() => {
    const limit = maxNodes.value;
    if (queryKey.value === '') return flame.clear();
    const { query, range } = request();
    flame.load((abort, progress) => fetchFlame(query, range, limit, abort, progress));
  });
  effect(() => {
    if (queryKey.value === '') return top.clear();
    if (!wantsTable.value) return;
    const { query, range } = request();
    top.load((abort) => fetchTop(query, range, TOP_LIMIT, abort));
  });
  effect(() => {
    const tree = wholeFlame.value;
    const changes = steps.value;
    if (tree === null || changes.length === 0) return changed.clear();
    changed.load((abort) => jobs.run({ source: dataOf(tree), steps: changes }, abort));
  });
  effect(() => {
    const tree = currentFlame.value;
    const of = sandwichOf.value;
    for (const [resource, kind] of [[callees, 'callees'], [callers, 'callers']] as const) {
      if (tree === null || of === '') resource.clear();
      else resource.load((abort) => jobs.run({ source: dataOf(tree), steps: [{ kind, of }] }, abort));
    }
  });
  effect(() => {
    const seconds = state.value.refresh;
    if (seconds === 0) return;
    const timer = setInterval(() => document.hidden || refresh(), seconds * 1000);
    return () => clearInterval(timer);
  });
}

/** Picks a service and a type when the address names none. */
function chooseDefaults(): void {
  const found = services.state.value.value;
  const { service, type } = state.value;
  if (found === null || found.length === 0 || (service !== '' && type !== '')) return;
  const chosen = service === '' ? found[0] : found.find((candidate) => candidate.name === service);
  if (chosen === undefined) return;
  update({ service: chosen.name, type: type || preferredType(chosen.profile_types) }, 'replace');
}

/** Switches to another service; keeps the profile type if it has it. */
export function chooseService(name: string): void {
  const types = services.state.peek().value?.find((service) => service.name === name)?.profile_types ?? [];
  const { type } = state.peek();
  batch(() => {
    update({ service: name, type: types.includes(type) ? type : preferredType(types), labels: '', ...NO_SELECTION });
  });
}

/** State fields that point into one particular profile. */
export const NO_SELECTION = { selected: '', focus: '', zoom: '', span: null } as const;

/** Selector and range of the present view. */
export function request(): { query: string; range: { from: string; to: string } } {
  const { service, type, labels, from, to } = state.peek();
  return { query: selector(type, service, labels), range: { from, to } };
}

// The flame graph and what is marked in it: one search, one selection, shared by graph and table.

/** The graph as the server gave it. */
const wholeFlame = computed(() => flame.state.value.value?.flame ?? null);

const focus = field('focus');
const collapse = field('collapse');

/** What is done to the graph before it is shown. */
const steps = computed((): Step[] => [
  ...(collapse.value ? [{ kind: 'collapse' } as const] : []),
  ...(focus.value === '' ? [] : [{ kind: 'callees', of: focus.value } as const]),
]);

/** The graph that is shown, and how far it is. */
export const flameState = computed((): Loaded<Flame> => {
  const answer = flame.state.value;
  const whole = { ...answer, value: answer.value?.flame ?? null };
  if (steps.value.length === 0 || answer.error !== null || answer.value === null) return whole;
  const { value, error, loading } = changed.state.value;
  return { value, error, loading: loading || answer.loading, received: answer.received };
});

export const currentFlame = computed(() => flameState.value.value);

/** Share of the whole graph (0 to 1) that the focused function has; null if none is focused. */
export const focusShare = computed(() => {
  const [whole, shown] = [wholeFlame.value, currentFlame.value];
  return focus.value === '' || whole === null || shown === null ? null : totalOf(shown) / (totalOf(whole) || 1);
});

/** The function whose callers and callees are shown; empty if they are not. */
export const sandwichOf = computed(() => (state.value.shape === 'sandwich' ? state.value.selected : ''));
export const unit = computed(
  () => flame.state.value.value?.unit ?? top.state.value.value?.unit ?? parseProfileType(state.value.type).sampleUnit,
);

const searchText = field('search');
const searchRegex = field('regex');
const selectedName = field('selected');
const zoomKey = field('zoom');

export const compiledSearch = computed<CompiledQuery>(() => compileQuery(searchText.value, searchRegex.value));

/** What the search matches in a tree; null if there is no usable search. */
export function matchesIn(tree: Flame | null): NodeSet | null {
  const compiled = compiledSearch.value;
  return tree === null || compiled === null || 'error' in compiled ? null : findNodes(tree, compiled.query);
}

export const searchSet = computed<NodeSet | null>(() => matchesIn(currentFlame.value));

export const selectedSet = computed<NodeSet | null>(() => {
  const tree = currentFlame.value;
  const name = selectedName.value;
  return tree === null || name === '' ? null : nodesNamed(tree, name);
});

/** The zoomed node; the root if nothing is zoomed or the node is not in this profile. */
export const zoomNode = computed(() => {
  const tree = currentFlame.value;
  if (tree === null || zoomKey.value === '') return 0;
  const node = findPath(tree, zoomKey.value);
  return node === NONE ? 0 : node;
});

export const searchWeight = computed(() => {
  const tree = currentFlame.value;
  const set = searchSet.value;
  return tree === null || set === null ? null : { ...weightOf(tree, set), nodes: set.rows.length };
});

export const selectedWeight = computed(() => {
  const tree = currentFlame.value;
  const set = selectedSet.value;
  return tree === null || set === null ? null : { ...weightOf(tree, set), nodes: set.rows.length };
});

/** Whether the server has no weight at all for the query. */
export const hasNoData = computed(() => wholeFlame.value !== null && totalOf(wholeFlame.value) === 0);

export const flameSummary = computed(() => {
  const tree = currentFlame.value;
  if (tree === null) return null;
  return { total: totalOf(tree), nodes: tree.nodeCount, depth: tree.depth, folded: foldedShare(tree) };
});

/** Totals per distinct name of the graph, for tooltips. */
export const totalsByName = computed(() => {
  const tree = currentFlame.value;
  return tree === null ? null : functionTotals(tree);
});
