/** The page: header, timeline, toolbar, flame graph and table. */
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { flameState, hasNoData, refresh, servicesState, state, timelineState, topState, update } from '../state/store.ts';
import { FlamePanel } from './flame-panel.tsx';
import { chart } from './graph.tsx';
import { Header } from './header.tsx';
import { HelpDialog, helpOpen } from './help.tsx';
import { copyText, ErrorNote, NoDataNote, NoServiceNote } from './notes.tsx';
import { Timeline } from './timeline.tsx';
import { SEARCH_ID, Toolbar } from './toolbar.tsx';
import { TABLE_ID, TopTable } from './top-table.tsx';

export function App(): JSX.Element {
  useEffect(() => {
    addEventListener('keydown', onShortcut);
    return () => removeEventListener('keydown', onShortcut);
  }, []);
  useEffect(() => {
    const { service } = state.value;
    document.title = service === '' ? 'Argand' : `${service} · Argand`;
  }, [state.value.service]);
  return (
    <>
      <Header />
      <main class="main">
        <Content />
      </main>
      <HelpDialog />
    </>
  );
}

function Content(): JSX.Element {
  const { error, value } = servicesState.value;
  const { service, view } = state.value;
  if (error !== null && value === null) return <ErrorNote error={error} />;
  if (value === null && service === '') return <div class="note muted">Loading…</div>;
  if (value?.length === 0 && service === '') return <NoServiceNote />;
  const shared = sharedError();
  if (shared !== null) {
    return (
      <section class="panel message-panel" aria-label="Error">
        <ErrorNote error={shared} />
      </section>
    );
  }
  return (
    <>
      <Timeline />
      <Toolbar />
      {hasNoData.value ? (
        <section class="panel message-panel" aria-label="No data">
          <NoDataNote />
        </section>
      ) : (
        <div class={`panes panes-${view}`}>
          {view !== 'table' && <FlamePanel />}
          {view !== 'flame' && <TopTable />}
        </div>
      )}
    </>
  );
}

/** The error of all requests if they failed for the same reason: said once, not in every panel. */
function sharedError(): Error | null {
  const shown = [timelineState, flameState, ...(state.value.view === 'flame' ? [] : [topState])];
  const errors = shown.map((resource) => resource.value.error);
  const first = errors[0];
  return first !== null && errors.every((error) => error?.message === first.message) ? first : null;
}

/** Shortcuts that work wherever the focus is, except while typing. */
function onShortcut(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || helpOpen.peek()) return;
  const target = event.target as HTMLElement;
  if (target.matches('input, textarea, select, [contenteditable]')) return;
  const action = SHORTCUTS[event.key];
  if (action === undefined) return;
  event.preventDefault();
  action();
}

const SHORTCUTS: Record<string, () => void> = {
  '/': () => document.getElementById(SEARCH_ID)?.focus(),
  '?': () => (helpOpen.value = true),
  n: () => chart.peek()?.goToMatch(1),
  p: () => chart.peek()?.goToMatch(-1),
  g: () => showAndFocus('table', () => chart.peek()?.canvas),
  t: () => {
    if (document.activeElement?.id === TABLE_ID) showAndFocus('table', () => chart.peek()?.canvas);
    else showAndFocus('flame', () => document.getElementById(TABLE_ID));
  },
  s: () => update({ shape: state.peek().shape === 'sandwich' ? 'icicle' : 'sandwich' }),
  c: () => state.peek().selected !== '' && void copyText(state.peek().selected),
  r: refresh,
};

/** Focuses an element; if the present view mode hides it, shows both panes first. */
function showAndFocus(hiddenIn: 'flame' | 'table', element: () => HTMLElement | null | undefined): void {
  if (state.peek().view !== hiddenIn) return element()?.focus();
  update({ view: 'both' });
  requestAnimationFrame(() => element()?.focus());
}
