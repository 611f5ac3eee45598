/** The help dialog: every shortcut in one place. */
import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { CloseIcon } from './icons.tsx';

export const helpOpen = signal(false);

const SHORTCUTS: readonly { title: string; keys: readonly (readonly [string, string])[] }[] = [
  {
    title: 'Anywhere',
    keys: [
      ['/', 'Search'],
      ['n  p', 'Next and previous match'],
      ['g', 'Go to the flame graph'],
      ['t', 'Go to the table and back'],
      ['s', 'Callers and callees of the selection, and back'],
      ['c', 'Copy the name of the selection'],
      ['r', 'Refresh'],
      ['?', 'This help'],
    ],
  },
  {
    title: 'Flame graph',
    keys: [
      ['↓', 'Heaviest child'],
      ['↑', 'Caller'],
      ['←  →', 'Neighbours'],
      ['Enter', 'Zoom to the focused bar'],
      ['Esc  Backspace', 'Zoom out one step'],
      ['+  −', 'Zoom by hand'],
      ['Shift F10', 'Menu of the focused bar'],
    ],
  },
  {
    title: 'Mouse and touch',
    keys: [
      ['Click', 'Zoom to a bar'],
      ['Right click', 'Menu'],
      ['Wheel, pinch', 'Zoom at the pointer'],
      ['Shift wheel', 'Scroll the levels'],
      ['Drag', 'Move around'],
      ['Shift drag', 'Zoom to a part'],
      ['Drag on the chart', 'Choose a time range'],
    ],
  },
  {
    title: 'Table',
    keys: [
      ['↑  ↓', 'Move the selection'],
      ['Enter', 'Go to the function in the graph'],
      ['Esc', 'Clear the selection'],
    ],
  },
];

export function HelpDialog(): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const open = helpOpen.value;
  useEffect(() => {
    if (open) dialog.current?.showModal();
    else dialog.current?.close();
  }, [open]);
  return (
    <dialog
      class="dialog"
      ref={dialog}
      aria-labelledby="help-title"
      onClose={() => (helpOpen.value = false)}
      onClick={(event) => event.target === event.currentTarget && event.currentTarget.close()}
    >
      <div class="dialog-body">
        <div class="dialog-head">
          <h2 id="help-title">Keyboard and mouse</h2>
          <button type="button" class="button icon-button quiet" aria-label="Close" onClick={() => dialog.current?.close()}>
            <CloseIcon />
          </button>
        </div>
        <div class="shortcuts">
          {SHORTCUTS.map((group) => (
            <section key={group.title}>
              <h3>{group.title}</h3>
              <dl>
                {group.keys.map(([keys, what]) => (
                  <div key={keys}>
                    <dt>
                      {keys.split('  ').map((key) => (
                        <kbd key={key}>{key}</kbd>
                      ))}
                    </dt>
                    <dd>{what}</dd>
                  </div>
                ))}
              </dl>
            </section>
          ))}
        </div>
      </div>
    </dialog>
  );
}
