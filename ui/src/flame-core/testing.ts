/** Trees for tests, drawn as text: one node per line, two spaces per level, `name self`. */
import fc from 'fast-check';
import type { FlameData } from './decode.ts';
import { layoutFlame, type Flame } from './layout.ts';

interface Row {
  level: number;
  name: string;
  self: number;
}

/** Columns of a drawn tree. */
export function treeData(drawing: string): FlameData {
  const lines = drawing.split('\n').filter((line) => line.trim() !== '');
  const indent = Math.min(...lines.map((line) => line.search(/\S/)));
  const rows = lines.map((line): Row => {
    const text = line.slice(indent);
    const [name, self = '0'] = text.trim().split(' ');
    return { level: text.search(/\S/) / 2, name, self: Number(self) };
  });
  return fromRows(rows);
}

/** A drawn tree, laid out. */
export function tree(drawing: string): Flame {
  return layoutFlame(treeData(drawing));
}

/** A single chain of calls, `depth` levels deep, one unit of self weight at the leaf. */
export function chain(depth: number): FlameData {
  return fromRows(Array.from({ length: depth }, (_, level) => ({ level, name: `f${level % 50}`, self: level === depth - 1 ? 1 : 0 })));
}

/** Random trees of up to 60 nodes. */
export const anyTree: fc.Arbitrary<FlameData> = fc
  .array(
    fc.record({
      climb: fc.nat({ max: 3 }),
      name: fc.constantFrom('a', 'b', 'c', 'main', 'other', 'ünï·code', ''),
      self: fc.oneof(fc.nat({ max: 5 }), fc.maxSafeNat()),
    }),
    { maxLength: 60 },
  )
  .map((steps) => {
    const rows: Row[] = [{ level: 0, name: 'total', self: 0 }];
    for (const { climb, name, self } of steps) {
      const above = rows[rows.length - 1].level;
      rows.push({ level: Math.max(1, above + 1 - climb), name, self });
    }
    return fromRows(rows);
  });

function fromRows(rows: Row[]): FlameData {
  const names = [...new Set(rows.map((row) => row.name))];
  const childCount = new Uint32Array(rows.length);
  const open: number[] = [];
  rows.forEach((row, i) => {
    open.length = row.level;
    if (row.level > 0) childCount[open[row.level - 1]]++;
    open.push(i);
  });
  return {
    names,
    childCount,
    nameIndex: Uint32Array.from(rows, (row) => names.indexOf(row.name)),
    self: Float64Array.from(rows, (row) => row.self),
  };
}
