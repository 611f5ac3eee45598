/** Dark, light or as the system says. A preference of the browser, so it is not part of the URL. */
import { computed, effect, signal } from '@preact/signals';
import { darkPalette, forcedPalette, lightPalette, type Palette } from '../flame-core/index.ts';

export type ThemeChoice = 'auto' | 'dark' | 'light';

const STORAGE_KEY = 'argand.theme';

export const themeChoice = signal<ThemeChoice>(storedChoice());

const systemDark = mediaSignal('(prefers-color-scheme: dark)');
const forcedColors = mediaSignal('(forced-colors: active)');

export const theme = computed<'dark' | 'light'>(() => {
  if (themeChoice.value !== 'auto') return themeChoice.value;
  return systemDark.value ? 'dark' : 'light';
});

export const palette = computed<Palette>(() => {
  if (forcedColors.value) return forcedPalette;
  return theme.value === 'dark' ? darkPalette : lightPalette;
});

/** Applies the theme to the document and remembers the choice. */
export function startTheme(): void {
  effect(() => {
    document.documentElement.dataset.theme = theme.value;
  });
  effect(() => {
    try {
      if (themeChoice.value === 'auto') localStorage.removeItem(STORAGE_KEY);
      else localStorage.setItem(STORAGE_KEY, themeChoice.value);
    } catch {
      // Storage is switched off: the choice lasts as long as the page.
    }
  });
}

function storedChoice(): ThemeChoice {
  try {
    const stored = localStorage.getItem(STORAGE_KEY);
    return stored === 'dark' || stored === 'light' ? stored : 'auto';
  } catch {
    return 'auto';
  }
}

function mediaSignal(query: string) {
  const list = matchMedia(query);
  const matches = signal(list.matches);
  list.addEventListener('change', () => (matches.value = list.matches));
  return matches;
}
