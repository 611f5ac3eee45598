/** Input for label matchers, with completion of names and values from the server. */
import type { JSX } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { fetchLabelValues, fetchLabels, selector } from '../api/client.ts';
import { applyCompletion, completionAt, rankOptions, type Completion } from '../state/label-input.ts';
import { state, update } from '../state/store.ts';
import { MoreOptions, nextActive } from './picker.tsx';

const MAX_OPTIONS = 100;
const HIDDEN_LABELS = ['service_name'];

export function LabelField(): JSX.Element {
  const committed = state.value.labels;
  const [text, setText] = useState(committed);
  const [caret, setCaret] = useState(0);
  const [open, setOpen] = useState(false);
  const [active, setActive] = useState(-1);
  const input = useRef<HTMLInputElement>(null);
  const listId = useId();
  const completion = completionAt(text, caret);
  const known = useOptions(open ? completion : { kind: 'none' });
  const found = completion.kind === 'none' ? [] : rankOptions(known, completion.prefix);
  const shown = found.slice(0, MAX_OPTIONS);
  const expanded = open && shown.length > 0;

  useEffect(() => setText(committed), [committed]);

  const commit = () => {
    setOpen(false);
    setActive(-1);
    update({ labels: text.trim() });
  };
  const choose = (option: string) => {
    if (completion.kind === 'none') return;
    const next = applyCompletion(text, caret, completion, option);
    setText(next.text);
    setCaret(next.caret);
    setActive(-1);
    setOpen(completion.kind === 'name');
    requestAnimationFrame(() => {
      input.current?.focus();
      input.current?.setSelectionRange(next.caret, next.caret);
    });
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const target = expanded ? nextActive(event.key, active, shown.length) : null;
    if (target !== null) setActive(target);
    else if (event.key === 'Enter' && expanded && active >= 0) choose(shown[active]);
    else if (event.key === 'Tab' && expanded && active >= 0) choose(shown[active]);
    else if (event.key === 'Enter') commit();
    else if (event.key === 'Escape' && open) setOpen(false);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const follow = (element: HTMLInputElement) => {
    setText(element.value);
    setCaret(element.selectionStart ?? element.value.length);
    setActive(-1);
  };

  return (
    <div class="label-field">
      <span class="brace" aria-hidden="true">
        {'{'}
      </span>
      <input
        ref={input}
        type="text"
        role="combobox"
        aria-label="Label selector"
        aria-autocomplete="list"
        aria-expanded={expanded}
        aria-controls={expanded ? listId : undefined}
        aria-activedescendant={expanded && active >= 0 ? `${listId}-${active}` : undefined}
        placeholder={'filter by labels, e.g. region="eu"'}
        autocomplete="off"
        autocapitalize="off"
        spellcheck={false}
        value={text}
        onInput={(event) => {
          follow(event.currentTarget);
          setOpen(true);
        }}
        onFocus={(event) => {
          follow(event.currentTarget);
          setOpen(true);
        }}
        onClick={(event) => {
          follow(event.currentTarget);
          setOpen(true);
        }}
        onKeyUp={(event) => setCaret(event.currentTarget.selectionStart ?? 0)}
        onKeyDown={onKeyDown}
        onBlur={commit}
      />
      <span class="brace" aria-hidden="true">
        {'}'}
      </span>
      {expanded && (
        <div class="label-options">
          <ul class="options" id={listId} role="listbox" aria-label="Completions">
            {shown.map((option, i) => (
              <li
                key={option}
                id={`${listId}-${i}`}
                role="option"
                aria-selected={i === active}
                class={i === active ? 'option active' : 'option'}
                ref={i === active ? (element) => element?.scrollIntoView({ block: 'nearest' }) : null}
                onPointerDown={(event) => {
                  event.preventDefault();
                  choose(option);
                }}
              >
                <span class="option-text mono">{option}</span>
              </li>
            ))}
          </ul>
          <MoreOptions found={found.length} shown={shown.length} />
        </div>
      )}
    </div>
  );
}

/** Names or values that fit the completion, as the server knows them. */
function useOptions(completion: Completion): string[] {
  const { service, type, from, to } = state.value;
  const [options, setOptions] = useState<string[]>([]);
  const name = completion.kind === 'value' ? completion.name : '';
  useEffect(() => {
    setOptions([]);
    if (completion.kind === 'none') return;
    const abort = new AbortController();
    const query = selector(type, service, '');
    const request =
      completion.kind === 'name'
        ? fetchLabels(query, { from, to }, abort.signal)
        : fetchLabelValues(name, query, { from, to }, abort.signal);
    request.then(
      (found) => setOptions(found.filter((option) => !isHidden(option))),
      () => setOptions([]),
    );
    return () => abort.abort();
  }, [completion.kind, name, service, type, from, to]);
  return options;
}

function isHidden(label: string): boolean {
  return HIDDEN_LABELS.includes(label) || (label.startsWith('__') && label.endsWith('__'));
}
