/** Where each target stands on the map, and which one is at a place. One cell a target, group after group. */

export interface Group {
  name: string;
  n: number;
}

/** The cells of one group; `y` is below its name. */
export interface Block {
  name: string;
  first: number;
  n: number;
  x: number;
  y: number;
  columns: number;
}

export interface Layout {
  /** How wide and high a cell is, in CSS pixels. */
  cell: number;
  height: number;
  blocks: Block[];
}

/** What the characters of the cells mean. */
export const CELLS = [
  { is: "unknown", words: "unknown" },
  { is: "up", words: "up" },
  { is: "shaky", words: "up, failures in 5 min" },
  { is: "degraded", words: "degraded" },
  { is: "down", words: "down" },
] as const;

/** The room above a block for its name. */
const NAME_HEIGHT = 16;
const GAP = 10;
/** Enough for most of a name. */
const LEAST_WIDTH = 110;
const MOST_BLOCKS = 200;

const sizeFor = (total: number): number => (total <= 1_000 ? 14 : total <= 5_000 ? 10 : total <= 20_000 ? 7 : 5);

/** Where there are too many groups for a name each, small neighbours are one block. */
export function joined(groups: Group[], most = MOST_BLOCKS): Group[] {
  const all = groups.filter((group) => group.n > 0);
  if (all.length <= most) return all;
  const least = Math.ceil((2 * all.reduce((sum, group) => sum + group.n, 0)) / most);
  const blocks: { from: string; to: string; n: number }[] = [];
  for (const { name, n } of all) {
    const last = blocks[blocks.length - 1];
    if (last && last.n + n <= least) {
      last.to = name;
      last.n += n;
    } else blocks.push({ from: name, to: name, n });
  }
  return blocks.map(({ from, to, n }) => ({ name: from === to ? from : `${from} … ${to}`, n }));
}

export function layout(groups: Group[], width: number): Layout {
  const blocks = joined(groups);
  const cell = sizeFor(blocks.reduce((sum, group) => sum + group.n, 0));
  const most = Math.max(1, Math.floor(width / cell));
  const placed: Block[] = [];
  let [x, y, first, rowHeight] = [0, 0, 0, 0];
  for (const { name, n } of blocks) {
    const room = name === "" ? 0 : NAME_HEIGHT;
    // Twice as wide as high, and all the width where there is one group without a name.
    const wanted = Math.max(Math.ceil(LEAST_WIDTH / cell), Math.ceil(Math.sqrt(2 * n)));
    const columns = name === "" ? most : Math.min(most, wanted);
    if (x > 0 && x + columns * cell > width) {
      x = 0;
      y += rowHeight + GAP;
      rowHeight = 0;
    }
    placed.push({ name, first, n, x, y: y + room, columns });
    rowHeight = Math.max(rowHeight, room + Math.ceil(n / columns) * cell);
    x += columns * cell + GAP;
    first += n;
  }
  return { cell, height: y + rowHeight, blocks: placed };
}

export const blockOf = (map: Layout, i: number): Block | undefined =>
  map.blocks.find(({ first, n }) => i >= first && i < first + n);

/** The left upper corner of a cell. */
export function placeOf(map: Layout, i: number): { x: number; y: number } | null {
  const block = blockOf(map, i);
  if (!block) return null;
  const at = i - block.first;
  return { x: block.x + (at % block.columns) * map.cell, y: block.y + Math.floor(at / block.columns) * map.cell };
}

export function cellAt(map: Layout, x: number, y: number): number | null {
  for (const block of map.blocks) {
    const column = Math.floor((x - block.x) / map.cell);
    const row = Math.floor((y - block.y) / map.cell);
    if (column < 0 || column >= block.columns || row < 0) continue;
    const at = row * block.columns + column;
    if (at < block.n) return block.first + at;
  }
  return null;
}

/** The cell above or below, over gaps and names too; itself where there is none. */
function vertically(map: Layout, i: number, sign: number): number {
  const from = placeOf(map, i);
  if (!from) return i;
  const x = from.x + map.cell / 2;
  for (let y = from.y + map.cell / 2 + sign * map.cell; y >= 0 && y <= map.height; y += (sign * map.cell) / 2) {
    const found = cellAt(map, x, y);
    if (found !== null) return found;
  }
  return i;
}

/** Where a key leads from a cell; null when it is no key of the map. */
export function step(map: Layout, i: number, key: string): number | null {
  const last = map.blocks[map.blocks.length - 1];
  const block = blockOf(map, i);
  if (!last || !block) return null;
  const end = last.first + last.n - 1;
  const at = map.blocks.indexOf(block);
  switch (key) {
    case "ArrowLeft":
      return Math.max(0, i - 1);
    case "ArrowRight":
      return Math.min(end, i + 1);
    case "ArrowUp":
      return vertically(map, i, -1);
    case "ArrowDown":
      return vertically(map, i, 1);
    case "Home":
      return block.first;
    case "End":
      return block.first + block.n - 1;
    case "PageUp":
      return map.blocks[at - 1]?.first ?? 0;
    case "PageDown":
      return map.blocks[at + 1]?.first ?? end;
    default:
      return null;
  }
}

/** The next cell after `i` that is neither up nor unknown, round the end; null when all are. */
export function nextBad(cells: string, i: number): number | null {
  for (let away = 1; away <= cells.length; away += 1) {
    const at = (i + away) % cells.length;
    if ((cells[at] ?? "") >= "3") return at;
  }
  return null;
}

/** The cells that are not as they were. */
export function changed(before: string, after: string): number[] {
  const found: number[] = [];
  for (let i = 0; i < after.length; i += 1) if (before[i] !== after[i]) found.push(i);
  return found;
}

/** How many there are of each kind, in the order of `CELLS`. */
export function tally(cells: string): number[] {
  const counts = CELLS.map(() => 0);
  for (const cell of cells) counts[Number(cell)] = (counts[Number(cell)] ?? 0) + 1;
  return counts;
}
