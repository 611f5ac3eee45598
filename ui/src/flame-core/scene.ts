/** What a picture of the graph depends on, and where levels are in it. */
import type { Palette } from './colour.ts';
import type { LabelTexts } from './labels.ts';
import type { Flame } from './layout.ts';
import type { Range } from './range.ts';
import type { NodeSet } from './search.ts';

/** Height of one level in CSS pixels, with the gap of one pixel below it. */
export const ROW_HEIGHT = 20;

/** Where the root is: at the top (icicle) or at the bottom (flame). */
export type Orientation = 'icicle' | 'flame';

/** Everything that decides the picture. Lengths are CSS pixels. */
export interface Scene {
  flame: Flame;
  range: Range;
  width: number;
  height: number;
  pixelRatio: number;
  /** Distance that the content is scrolled down. */
  scrollTop: number;
  orientation: Orientation;
  palette: Palette;
  /** Palette slot per distinct name. */
  slots: Uint8Array;
  labels: LabelTexts;
  /** CSS font of the labels; must be monospaced, `glyphWidth` wide. */
  font: string;
  glyphWidth: number;
  search: NodeSet | null;
  selected: NodeSet | null;
  focus: number;
  hover: number;
  /** Part of the width that is being brushed. */
  brush: { left: number; right: number } | null;
}

/** The part of a scene that says where levels are. */
export type Geometry = Pick<Scene, 'flame' | 'height' | 'scrollTop' | 'orientation'>;

/** Height of all levels. */
export function contentHeight(flame: Flame): number {
  return flame.depth * ROW_HEIGHT;
}

/** Level at a vertical position in the viewport; may be outside the tree. */
export function levelAt(scene: Geometry, y: number): number {
  const down = y + scene.scrollTop;
  if (scene.orientation === 'icicle') return Math.floor(down / ROW_HEIGHT);
  return Math.floor((Math.max(contentHeight(scene.flame), scene.height) - down) / ROW_HEIGHT);
}

/** Top edge of a level in the viewport. */
export function topOf(scene: Geometry, level: number): number {
  if (scene.orientation === 'icicle') return level * ROW_HEIGHT - scene.scrollTop;
  return Math.max(contentHeight(scene.flame), scene.height) - (level + 1) * ROW_HEIGHT - scene.scrollTop;
}

/** The levels that are in the viewport, first and last; `last < first` if there are none. */
export function visibleLevels(scene: Geometry): { first: number; last: number } {
  const [a, b] = [levelAt(scene, 0), levelAt(scene, scene.height - 1)];
  return { first: Math.max(0, Math.min(a, b)), last: Math.min(scene.flame.depth - 1, Math.max(a, b)) };
}
