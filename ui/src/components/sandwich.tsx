/** Callers and callees of the selected function, over all places where it is called. */
import { computed } from '@preact/signals';
import type { JSX } from 'preact';
import { nameTail, type Orientation } from '../flame-core/index.ts';
import { calleesState, callersState, state, update } from '../state/store.ts';
import { Graph } from './graph.tsx';
import { ErrorNote } from './notes.tsx';

const callers = computed(() => callersState.value.value);
const callees = computed(() => calleesState.value.value);
const above = computed((): Orientation => 'flame');
const below = computed((): Orientation => 'icicle');

export function Sandwich(): JSX.Element {
  const { selected, view } = state.value;
  const error = callersState.value.error ?? calleesState.value.error;
  if (selected === '') {
    return (
      <div class="note">
        <p class="muted">Select a function in the table to see what calls it and what it calls.</p>
        {view === 'flame' && (
          <button type="button" class="button" onClick={() => update({ view: 'both' })}>
            Show the table
          </button>
        )}
      </div>
    );
  }
  if (error !== null) return <ErrorNote error={error} />;
  if (callees.value?.nodeCount === 0) return <p class="note muted">{selected} is not in the graph.</p>;
  const name = nameTail(selected);
  return (
    <div class="sandwich">
      <Half id="callers" label="Callers" name={name} of={callers} stale={callersState.value.loading} orientation={above} primary={false} />
      <Half id="callees" label="Callees" name={name} of={callees} stale={calleesState.value.loading} orientation={below} primary={true} />
    </div>
  );
}

interface HalfProps {
  id: string;
  label: string;
  name: string;
  of: typeof callers;
  stale: boolean;
  orientation: typeof above;
  primary: boolean;
}

function Half({ name, of, ...graph }: HalfProps): JSX.Element {
  return (
    <div class="sandwich-half">
      <h2 class="sandwich-title ellipsis">
        {graph.label} of {name}
      </h2>
      <div class="sandwich-graph">
        <Graph {...graph} tree={of} hidden={of.value === null} />
      </div>
    </div>
  );
}
