/** The flame graph engine: no framework, no network, no global state. */
export { FlameChart, type ChartEvents, type ChartView } from './chart.ts';
export { darkPalette, forcedPalette, lightPalette, type ColourBy, type Palette } from './colour.ts';
export { nameTail, packageOf } from './names.ts';
export { nameOf, totalOf, type Flame } from './layout.ts';
export { type Range } from './range.ts';
export type { Orientation } from './scene.ts';
export {
  compileQuery,
  findNodes,
  nodesNamed,
  weightOf,
  type CompiledQuery,
  type NodeSet,
} from './search.ts';
export { dataOf, type Step } from './transform.ts';
export { findPath, foldedShare, functionTotals, isFolded, NONE, pathKey, pathTo } from './tree.ts';
