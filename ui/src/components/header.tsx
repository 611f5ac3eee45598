/** What is looked at: service, profile type, labels, time. And the page's own controls. */
import type { JSX } from 'preact';
import { profileTypeLabel } from '../format/profile-type.ts';
import { busy, chooseService, NO_SELECTION, refresh, servicesState, state, update } from '../state/store.ts';
import { themeChoice, type ThemeChoice } from '../state/theme.ts';
import { REFRESH_CHOICES } from '../state/url.ts';
import { helpOpen } from './help.tsx';
import { AutoThemeIcon, HelpIcon, Mark, MoonIcon, RefreshIcon, SunIcon } from './icons.tsx';
import { LabelField } from './label-field.tsx';
import { Picker } from './picker.tsx';
import { TimePicker } from './time-picker.tsx';

export function Header(): JSX.Element {
  const { service, type } = state.value;
  const services = servicesState.value.value ?? [];
  const types = services.find((candidate) => candidate.name === service)?.profile_types ?? [];
  return (
    <header class="header">
      <h1 class="brand">
        <Mark />
        Argand
      </h1>
      <Picker
        label="Service"
        className="service-picker"
        value={service}
        options={services.map((candidate) => candidate.name)}
        placeholder="none yet"
        onPick={chooseService}
      />
      <Picker
        label="Profile"
        className="type-picker"
        value={type}
        options={types}
        display={profileTypeLabel}
        placeholder="none yet"
        onPick={(picked) => update({ type: picked, ...NO_SELECTION })}
      />
      <LabelField />
      <div class="header-end">
        <TimePicker />
        <div class="button-group">
          <button type="button" class="button icon-button" title="Refresh" aria-label="Refresh" onClick={refresh}>
            <span class={busy.value ? 'spin' : 'still'}>
              <RefreshIcon />
            </span>
          </button>
          <select
            class="button"
            aria-label="Refresh automatically"
            value={String(state.value.refresh)}
            onChange={(event) => update({ refresh: Number(event.currentTarget.value) })}
          >
            {REFRESH_CHOICES.map((seconds) => (
              <option key={seconds} value={String(seconds)}>
                {refreshLabel(seconds)}
              </option>
            ))}
          </select>
        </div>
        <ThemeButton />
        <button
          type="button"
          class="button icon-button page-control"
          title="Keyboard shortcuts (?)"
          aria-label="Help"
          onClick={() => (helpOpen.value = true)}
        >
          <HelpIcon />
        </button>
      </div>
    </header>
  );
}

const NEXT_THEME: Record<ThemeChoice, ThemeChoice> = { auto: 'dark', dark: 'light', light: 'auto' };
const THEME_ICON: Record<ThemeChoice, () => JSX.Element> = { auto: AutoThemeIcon, dark: MoonIcon, light: SunIcon };

function ThemeButton(): JSX.Element {
  const choice = themeChoice.value;
  const Icon = THEME_ICON[choice];
  const text = `Theme: ${choice}`;
  return (
    <button
      type="button"
      class="button icon-button page-control"
      title={text}
      aria-label={text}
      onClick={() => (themeChoice.value = NEXT_THEME[choice])}
    >
      <Icon />
    </button>
  );
}

function refreshLabel(seconds: number): string {
  if (seconds === 0) return 'Off';
  return seconds < 60 ? `${seconds}s` : `${seconds / 60}m`;
}
