/** The flame graph engine: no framework, no network, no global state. */
export { FlameChart, type ChartEvents, type ChartView } from './chart.ts';
export { darkPalette, forcedPalette, lightPalette, nameTail, packageOf, type ColourBy, type Palette } from './colour.ts';
export { nameOf, totalOf, type Flame } from './layout.ts';
export { type Range } from './range.ts';
export type { Orientation } from './scene.ts';
export {
  compileQuery,
  findNodes,
  heaviestOf,
  nextMatch,
  nodesWithNames,
  weightOf,
  type CompiledQuery,
  type NodeSet,
} from './search.ts';
export { findPath, foldedShare, functionTotals, isFolded, NONE, pathKey, pathTo } from './tree.ts';
