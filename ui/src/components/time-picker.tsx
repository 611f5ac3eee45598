/** Chooses the time range: presets, or two absolute times. */
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { state, update } from '../state/store.ts';
import { describeRange, PRESETS, toEpochMs, toInputValue } from '../state/time.ts';
import { ChevronIcon, ClockIcon } from './icons.tsx';
import { Popover } from './popover.tsx';

export function TimePicker(): JSX.Element {
  const { from, to } = state.value;
  const face = (
    <>
      <ClockIcon />
      <span class="picker-value">{describeRange({ from, to })}</span>
      <ChevronIcon />
    </>
  );
  return (
    <Popover label="Time range" face={face} className="time-picker" align="right">
      {(close) => (
        <div class="time-panel">
          <div class="time-presets" role="group" aria-label="Relative ranges">
            {PRESETS.map((preset) => (
              <button
                key={preset.from}
                type="button"
                class="option"
                aria-pressed={from === preset.from && to === 'now'}
                onClick={() => {
                  update({ from: preset.from, to: 'now' });
                  close();
                }}
              >
                {preset.label}
              </button>
            ))}
          </div>
          <CustomRange close={close} />
        </div>
      )}
    </Popover>
  );
}

function CustomRange({ close }: { close: () => void }): JSX.Element {
  const now = Date.now();
  const { from, to } = state.peek();
  const [begin, setBegin] = useState(toInputValue(toEpochMs(from, now)));
  const [end, setEnd] = useState(toInputValue(toEpochMs(to, now)));
  const fromMs = Date.parse(begin);
  const toMs = Date.parse(end);
  const valid = fromMs < toMs;
  return (
    <form
      class="time-custom"
      onSubmit={(event) => {
        event.preventDefault();
        if (!valid) return;
        update({ from: String(fromMs), to: String(toMs) });
        close();
      }}
    >
      <label>
        From
        <input class="field" type="datetime-local" step="1" value={begin} onInput={(e) => setBegin(e.currentTarget.value)} />
      </label>
      <label>
        To
        <input class="field" type="datetime-local" step="1" value={end} onInput={(e) => setEnd(e.currentTarget.value)} />
      </label>
      {!valid && <p class="form-error">“From” must be earlier than “To”.</p>}
      <button type="submit" class="button primary" disabled={!valid}>
        Apply
      </button>
    </form>
  );
}
