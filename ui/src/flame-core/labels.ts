/** Which form of a name fits a bar. Short forms are made once per name, not once per frame. */
import { shortName } from './names.ts';

/** Labels of the distinct names of one tree. */
export class LabelTexts {
  private readonly short: (string | undefined)[];

  constructor(private readonly names: readonly string[]) {
    this.short = new Array<string | undefined>(names.length);
  }

  /** The most telling form of a name in the room of `glyphs` characters; empty if that would say nothing. */
  fit(name: number, glyphs: number): string {
    const whole = this.names[name];
    if (fits(whole, glyphs)) return whole;
    const short = (this.short[name] ??= shortName(whole));
    if (fits(short, glyphs)) return short;
    return glyphs >= 3 ? `${truncate(short, glyphs - 1)}…` : '';
  }
}

/** As `LabelTexts.fit`, for one name. */
export function fitLabel(name: string, glyphs: number): string {
  return new LabelTexts([name]).fit(0, glyphs);
}

/** Code points from here on are counted as two characters wide: East Asian scripts and pictographs. */
const FIRST_WIDE = 0x1100;
const NARROW = /^[\0-\u10ff]*$/;

function fits(text: string, glyphs: number): boolean {
  if (text.length > glyphs) return false;
  return text.length * 2 <= glyphs || NARROW.test(text) || glyphsOf(text) <= glyphs;
}

function glyphsOf(text: string): number {
  let glyphs = 0;
  for (const character of text) glyphs += widthOf(character);
  return glyphs;
}

/** As many whole characters as fit. */
function truncate(text: string, glyphs: number): string {
  let end = 0;
  let used = 0;
  for (const character of text) {
    used += widthOf(character);
    if (used > glyphs) break;
    end += character.length;
  }
  return text.slice(0, end);
}

function widthOf(character: string): number {
  return character.codePointAt(0)! < FIRST_WIDE ? 1 : 2;
}
