/** How the profile is shown: search, view mode, orientation, colours, export. */
import { signal } from '@preact/signals';
import type { ComponentChildren, JSX } from 'preact';
import { profileUrl } from '../api/client.ts';
import { formatCount, formatShare } from '../format/units.ts';
import {
  compiledSearch,
  request,
  searchWeight,
  shareUrl,
  state,
  update,
} from '../state/store.ts';
import type { Shape, ViewMode } from '../state/url.ts';
import { chart } from './graph.tsx';
import { CheckIcon, CloseIcon, DownIcon, DownloadIcon, LinkIcon, SearchIcon, UpIcon } from './icons.tsx';
import { copyText } from './notes.tsx';

export const SEARCH_ID = 'search';

export function Toolbar(): JSX.Element {
  const { view, shape, colourBy, collapse } = state.value;
  return (
    <div class="toolbar" role="group" aria-label="View">
      <SearchBox />
      <Segmented<ViewMode>
        label="View"
        value={view}
        choices={[
          ['both', 'Both'],
          ['flame', 'Flame graph'],
          ['table', 'Table'],
        ]}
        onChoose={(choice) => update({ view: choice })}
      />
      <Segmented<Shape>
        label="Shape"
        value={shape}
        choices={[
          ['icicle', 'Icicle'],
          ['flame', 'Flame'],
          ['sandwich', 'Sandwich'],
        ]}
        onChoose={(choice) => update({ shape: choice })}
      />
      <button
        type="button"
        class="button"
        aria-label="Collapse recursion"
        aria-pressed={collapse}
        title="Show functions that call themselves as one bar"
        onClick={() => update({ collapse: !collapse, zoom: '', span: null })}
      >
        Collapse <span class="not-narrow">recursion</span>
      </button>
      <label class="select-label">
        <span>Colour by</span>
        <select
          class="button"
          aria-label="Colour by"
          value={colourBy}
          onChange={(event) => update({ colourBy: event.currentTarget.value as 'package' | 'name' })}
        >
          <option value="package">package</option>
          <option value="name">function</option>
        </select>
      </label>
      <div class="toolbar-end">
        <ShareButton />
        <DownloadLink />
      </div>
    </div>
  );
}

function SearchBox(): JSX.Element {
  const { search, regex } = state.value;
  const compiled = compiledSearch.value;
  const invalid = compiled !== null && 'error' in compiled;
  return (
    <div class={invalid ? 'search invalid' : 'search'} role="search">
      <SearchIcon />
      <input
        id={SEARCH_ID}
        type="text"
        aria-label="Search functions"
        aria-invalid={invalid}
        placeholder="Search functions  /"
        autocomplete="off"
        autocapitalize="off"
        spellcheck={false}
        value={search}
        onInput={(event) => update({ search: event.currentTarget.value }, 'replace')}
        onKeyDown={onSearchKey}
      />
      <SearchResult error={invalid ? compiled.error : null} />
      <button
        type="button"
        class="toggle mono"
        aria-pressed={regex}
        aria-label="Regular expression"
        title="Regular expression"
        onClick={() => update({ regex: !regex }, 'replace')}
      >
        .*
      </button>
      <button type="button" class="toggle" aria-label="Previous match" title="Previous match (p)" onClick={() => chart.peek()?.goToMatch(-1)}>
        <UpIcon />
      </button>
      <button type="button" class="toggle" aria-label="Next match" title="Next match (n)" onClick={() => chart.peek()?.goToMatch(1)}>
        <DownIcon />
      </button>
      {search !== '' && (
        <button
          type="button"
          class="toggle"
          aria-label="Clear search"
          title="Clear search (Esc)"
          onClick={() => update({ search: '' }, 'replace')}
        >
          <CloseIcon />
        </button>
      )}
    </div>
  );
}

function SearchResult({ error }: { error: string | null }): JSX.Element {
  const weight = searchWeight.value;
  const text =
    error !== null ? 'not a regular expression' : weight === null ? '' : `${formatCount(weight.nodes)} · ${formatShare(weight.share)}`;
  return (
    <output class="search-result" title={error ?? undefined}>
      {text}
    </output>
  );
}

function onSearchKey(event: KeyboardEvent): void {
  if (event.key === 'Enter') chart.peek()?.goToMatch(event.shiftKey ? -1 : 1);
  else if (event.key === 'Escape' && state.peek().search !== '') update({ search: '' }, 'replace');
  else if (event.key === 'Escape') chart.peek()?.canvas.focus();
  else return;
  event.preventDefault();
}

interface SegmentedProps<T extends string> {
  label: string;
  value: T;
  choices: readonly (readonly [T, ComponentChildren])[];
  onChoose: (choice: T) => void;
}

function Segmented<T extends string>({ label, value, choices, onChoose }: SegmentedProps<T>): JSX.Element {
  return (
    <div class="segmented" role="group" aria-label={label}>
      {choices.map(([choice, face]) => (
        <button key={choice} type="button" aria-pressed={choice === value} onClick={() => onChoose(choice)}>
          {face}
        </button>
      ))}
    </div>
  );
}

const linkCopied = signal(false);

function ShareButton(): JSX.Element {
  const copy = async () => {
    await copyText(shareUrl());
    linkCopied.value = true;
    setTimeout(() => (linkCopied.value = false), 1500);
  };
  return (
    <button type="button" class="button" title="Copy a link to exactly this view" onClick={copy}>
      {linkCopied.value ? <CheckIcon /> : <LinkIcon />}
      <span class="wide-only" aria-live="polite">
        {linkCopied.value ? 'Copied' : 'Copy link'}
      </span>
    </button>
  );
}

function DownloadLink(): JSX.Element | null {
  const { service, type } = state.value;
  if (service === '' || type === '') return null;
  const { query, range } = request();
  return (
    <a class="button" href={profileUrl(query, range)} download={`${service}.pb.gz`} title="Download as pprof">
      <DownloadIcon />
      <span class="wide-only">pprof</span>
    </a>
  );
}
