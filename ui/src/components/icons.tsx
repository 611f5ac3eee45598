/** Line icons, 16 × 16, drawn with the text colour. */
import type { JSX } from 'preact';

function icon(path: string): () => JSX.Element {
  return () => (
    <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false">
      <path d={path} />
    </svg>
  );
}

export const ChevronIcon = icon('M4 6.5l4 4 4-4');
export const SearchIcon = icon('M7 2.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9zM10.4 10.4l3.6 3.6');
export const RefreshIcon = icon('M13.5 8a5.5 5.5 0 1 1-1.7-4M13.5 1.5v3h-3');
export const ClockIcon = icon('M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2zM8 4.8V8l2.2 1.6');
export const SunIcon = icon(
  'M8 5a3 3 0 1 1 0 6 3 3 0 0 1 0-6zM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1.1 1.1M11.9 11.9L13 13M3 13l1.1-1.1M11.9 4.1L13 3',
);
export const MoonIcon = icon('M13 9.8A5.5 5.5 0 0 1 6.2 3 5.5 5.5 0 1 0 13 9.8z');
export const AutoThemeIcon = icon(
  'M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11zM8 2.5v11M8 5l3.5-1M8 8h5.5M8 11l3.5 1',
);
export const HelpIcon = icon(
  'M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2zM6.3 6.3c.1-2.2 3.5-2.1 3.4 0 0 1.3-1.7 1.4-1.7 2.7M8 11.2v.3',
);
export const LinkIcon = icon(
  'M6.7 9.3a2.5 2.5 0 0 0 3.6 0l2.4-2.4a2.5 2.5 0 0 0-3.6-3.6l-.9.9M9.3 6.7a2.5 2.5 0 0 0-3.6 0L3.3 9.1a2.5 2.5 0 0 0 3.6 3.6l.9-.9',
);
export const DownloadIcon = icon('M8 2v8M4.7 7L8 10.3 11.3 7M2.5 13.5h11');
export const CloseIcon = icon('M4 4l8 8M12 4l-8 8');
export const UpIcon = icon('M4 10l4-4 4 4');
export const DownIcon = icon('M4 6l4 4 4-4');
export const CopyIcon = icon('M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3');
export const CheckIcon = icon('M3 8.5l3.2 3.2L13 4.8');
export const AlertIcon = icon('M8 2L14.5 13.5h-13zM8 6.5v3M8 11.5v.2');

/** The product's mark: a lamp. */
export function Mark(): JSX.Element {
  return (
    <svg class="mark" viewBox="0 0 32 32" width="22" height="22" aria-hidden="true" focusable="false">
      <path class="mark-flame" d="M16 2c4.2 5 7.6 9.1 7.6 13.9a7.6 7.6 0 0 1-15.2 0C8.4 11.1 11.8 7 16 2z" />
      <path class="mark-core" d="M16 12.5c2 2.3 3.2 3.9 3.2 5.9a3.2 3.2 0 0 1-6.4 0c0-2 1.2-3.6 3.2-5.9z" />
      <rect class="mark-base" x="8" y="26.5" width="16" height="3" rx="1.5" />
    </svg>
  );
}
