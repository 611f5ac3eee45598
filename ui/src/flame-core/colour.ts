/** Bar colours: one hue per package or name, equal lightness in a theme, text that can be read on it. */
import { packageOf } from './names.ts';
import { hashText, FOLDED_NAME } from './tree.ts';

/** What decides the hue of a bar. */
export type ColourBy = 'package' | 'name';

/** Colours of one theme as CSS colour strings. */
export interface Palette {
  /** Bars, chosen by hash. */
  bars: string[];
  text: string;
  /** Root and folded weight. */
  neutral: string;
  neutralText: string;
  /** Runs of bars too narrow to draw one by one. */
  merged: string;
  /** Search matches inside such runs. */
  mergedMatch: string;
  /** Bars outside the search. */
  dimmed: string;
  dimmedText: string;
  selected: string;
  selectedText: string;
  focus: string;
  focusHalo: string;
  hover: string;
  background: string;
  /** Draw outlines instead of relying on fills. */
  outlined: boolean;
}

/** Index into `Palette.bars` that stands for `Palette.neutral`. */
export const NEUTRAL = 255;

const HUES = 18;
/** Hues near the selection's amber are left out. */
const HUE_FROM = 105;
const HUE_SPAN = 305;

export const lightPalette: Palette = {
  bars: hues(0.86, 0.066),
  text: '#191b20',
  neutral: '#d5d8de',
  neutralText: '#24272e',
  merged: '#b9c0cc',
  mergedMatch: '#4a5362',
  dimmed: '#eceef1',
  dimmedText: '#5f6570',
  selected: '#f2a51c',
  selectedText: '#1a1204',
  focus: '#0b57d0',
  focusHalo: '#ffffff',
  hover: 'rgba(0,0,0,0.10)',
  background: '#ffffff',
  outlined: false,
};

export const darkPalette: Palette = {
  bars: hues(0.43, 0.062),
  text: '#f1f3f6',
  neutral: '#3a3f49',
  neutralText: '#eceff4',
  merged: '#555d6b',
  mergedMatch: '#a4afc2',
  dimmed: '#23262d',
  dimmedText: '#9097a3',
  selected: '#f5b041',
  selectedText: '#1a1204',
  focus: '#8ab4ff',
  focusHalo: '#0d0f13',
  hover: 'rgba(255,255,255,0.13)',
  background: '#14161a',
  outlined: false,
};

/** System colours, for forced-colors mode. */
export const forcedPalette: Palette = {
  bars: ['Canvas'],
  text: 'CanvasText',
  neutral: 'Canvas',
  neutralText: 'CanvasText',
  merged: 'GrayText',
  mergedMatch: 'CanvasText',
  dimmed: 'Canvas',
  dimmedText: 'GrayText',
  selected: 'Highlight',
  selectedText: 'HighlightText',
  focus: 'Highlight',
  focusHalo: 'Canvas',
  hover: 'transparent',
  background: 'Canvas',
  outlined: true,
};

/** Palette slot per distinct name. */
export function colourSlots(names: readonly string[], by: ColourBy): Uint8Array {
  return Uint8Array.from(names, (name) => colourSlot(name, by));
}

/** Palette slot of one name. */
export function colourSlot(name: string, by: ColourBy): number {
  if (name === FOLDED_NAME || name === 'total') return NEUTRAL;
  return hashText(by === 'package' ? packageOf(name) : name) % HUES;
}

/** Contrast ratio of two `#rrggbb` colours as WCAG 2.2 defines it. */
export function contrast(a: string, b: string): number {
  const [bright, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (bright + 0.05) / (dark + 0.05);
}

function luminance(hex: string): number {
  const [r, g, b] = [1, 3, 5].map((at) => linear(Number.parseInt(hex.slice(at, at + 2), 16) / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function linear(channel: number): number {
  return channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4;
}

/** Evenly spaced hues, neighbours in hash space far apart in hue. */
function hues(lightness: number, chroma: number): string[] {
  const stride = 7;
  return Array.from({ length: HUES }, (_, i) => {
    const hue = HUE_FROM + (HUE_SPAN * ((i * stride) % HUES)) / HUES;
    return oklchToHex(lightness, chroma, hue);
  });
}

/** OKLCH to sRGB, clipped to the gamut (Björn Ottosson, "A perceptual color space", 2020). */
function oklchToHex(lightness: number, chroma: number, hue: number): string {
  const a = chroma * Math.cos((hue * Math.PI) / 180);
  const b = chroma * Math.sin((hue * Math.PI) / 180);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const channels = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  return `#${channels.map((c) => hexByte(gamma(c))).join('')}`;
}

function gamma(channel: number): number {
  const c = Math.min(1, Math.max(0, channel));
  return c <= 0.0031308 ? 12.92 * c : 1.055 * c ** (1 / 2.4) - 0.055;
}

function hexByte(unit: number): string {
  return Math.round(unit * 255)
    .toString(16)
    .padStart(2, '0');
}
