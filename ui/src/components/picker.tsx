/** A button that opens a filterable list: choose one of many with mouse or keyboard. */
import type { JSX } from 'preact';
import { useEffect, useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { formatCount } from '../format/units.ts';
import { rankOptions } from '../state/label-input.ts';
import { CheckIcon, ChevronIcon } from './icons.tsx';
import { Popover } from './popover.tsx';

/** Most options that are listed at once. */
const MAX_OPTIONS = 300;

interface PickerProps {
  label: string;
  value: string;
  options: readonly string[];
  /** How an option reads; options are filtered by this text. */
  display?: (option: string) => string;
  placeholder: string;
  className?: string;
  onPick: (option: string) => void;
}

export function Picker({ label, value, options, display = identity, ...rest }: PickerProps): JSX.Element {
  const face = (
    <>
      <span class="picker-label" aria-hidden="true">
        {label}
      </span>
      <span class="picker-value">{value === '' ? rest.placeholder : display(value)}</span>
      <ChevronIcon />
    </>
  );
  return (
    <Popover label={label} face={face} className={`picker ${rest.className ?? ''}`}>
      {(close) => (
        <PickerList
          label={label}
          value={value}
          options={options}
          display={display}
          onPick={(option) => {
            close();
            rest.onPick(option);
          }}
        />
      )}
    </Popover>
  );
}

interface PickerListProps {
  label: string;
  value: string;
  options: readonly string[];
  display: (option: string) => string;
  onPick: (option: string) => void;
}

function PickerList({ label, value, options, display, onPick }: PickerListProps): JSX.Element {
  const [filter, setFilter] = useState('');
  const texts = new Map(options.map((option) => [display(option), option]));
  const found = rankOptions([...texts.keys()], filter);
  const shown = found.slice(0, MAX_OPTIONS);
  const [active, setActive] = useState(Math.max(0, shown.indexOf(display(value))));
  const listId = useId();
  const input = useRef<HTMLInputElement>(null);
  const list = useRef<HTMLUListElement>(null);

  useLayoutEffect(() => input.current?.focus(), []);
  useEffect(() => {
    list.current?.children[active]?.scrollIntoView({ block: 'nearest' });
  }, [active, filter]);

  const pick = (text: string | undefined) => {
    const option = text === undefined ? undefined : texts.get(text);
    if (option !== undefined) onPick(option);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const target = nextActive(event.key, active, shown.length);
    if (target !== null) setActive(target);
    else if (event.key === 'Enter') pick(shown[active]);
    else return;
    event.preventDefault();
  };

  return (
    <>
      <input
        class="field"
        ref={input}
        type="text"
        role="combobox"
        aria-expanded="true"
        aria-controls={listId}
        aria-activedescendant={shown.length > 0 ? `${listId}-${active}` : undefined}
        aria-label={`Filter: ${label}`}
        placeholder="Filter…"
        autocomplete="off"
        spellcheck={false}
        value={filter}
        onInput={(event) => {
          setFilter(event.currentTarget.value);
          setActive(0);
        }}
        onKeyDown={onKeyDown}
      />
      <ul class="options" id={listId} role="listbox" aria-label={label} ref={list}>
        {shown.map((text, i) => (
          <li
            key={text}
            id={`${listId}-${i}`}
            role="option"
            class={i === active ? 'option active' : 'option'}
            aria-selected={texts.get(text) === value}
            onPointerMove={() => setActive(i)}
            onClick={() => pick(text)}
          >
            <span class="option-text">{text}</span>
            {texts.get(text) === value && <CheckIcon />}
          </li>
        ))}
      </ul>
      <MoreOptions found={found.length} shown={shown.length} />
      {shown.length === 0 && <p class="options-empty">Nothing matches “{filter}”</p>}
    </>
  );
}

/** Says that a list of options goes on. */
export function MoreOptions({ found, shown }: { found: number; shown: number }): JSX.Element | null {
  if (found === shown) return null;
  return <p class="options-empty">{formatCount(found - shown)} more: type to narrow them down</p>;
}

/** Where a key moves the active option to; null if it is not a movement key. */
export function nextActive(key: string, active: number, count: number): number | null {
  if (count === 0) return null;
  switch (key) {
    case 'ArrowDown':
      return (active + 1) % count;
    case 'ArrowUp':
      return (active - 1 + count) % count;
    case 'PageDown':
      return Math.min(count - 1, active + 10);
    case 'PageUp':
      return Math.max(0, active - 10);
    default:
      return null;
  }
}

function identity(option: string): string {
  return option;
}
