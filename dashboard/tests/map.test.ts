import { expect, test } from "vitest";
import { cellAt, changed, joined, layout, nextBad, placeOf, step, tally, type Group } from "../src/map";

const groups = (count: number, n: number): Group[] => Array.from({ length: count }, (_, i) => ({ name: `group-${i}`, n }));

test("every cell is found where it stands, and nobody between them, at any size", () => {
  for (const [all, width] of [[groups(1, 1), 300], [groups(7, 13), 390], [groups(40, 30), 1300], [groups(200, 250), 1300], [groups(3000, 2), 700]] as const) {
    const map = layout([...all], width);
    const total = all.reduce((sum, { n }) => sum + n, 0);
    for (let i = 0; i < total; i += Math.ceil(total / 500)) {
      const place = placeOf(map, i);
      expect(place).not.toBeNull();
      const { x, y } = place ?? { x: -1, y: -1 };
      expect(x + map.cell).toBeLessThanOrEqual(width);
      expect(y + map.cell).toBeLessThanOrEqual(map.height);
      expect(cellAt(map, x + map.cell / 2, y + map.cell / 2)).toBe(i);
    }
    expect(placeOf(map, total)).toBeNull();
    expect(cellAt(map, -1, 20)).toBeNull();
    expect(cellAt(map, 5, 1), "the name of a group is no cell").toBeNull();
  }
});

test("fifty thousand targets in groups of a few have at most two hundred names", () => {
  const blocks = joined(groups(25_000, 2));
  expect(blocks.length).toBeLessThanOrEqual(200);
  expect(blocks.reduce((sum, { n }) => sum + n, 0)).toBe(50_000);
  expect(blocks[0]?.name).toMatch(/^group-0 … group-\d+$/);
  expect(joined([{ name: "a", n: 3 }, { name: "b", n: 0 }])).toEqual([{ name: "a", n: 3 }]);
});

test("one group without a name takes the whole width", () => {
  const map = layout([{ name: "", n: 100 }], 140);
  expect(map.blocks).toEqual([{ name: "", first: 0, n: 100, x: 0, y: 0, columns: 10 }]);
  expect(map.height).toBe(140);
});

test("keys lead along, up and down, over the names of groups, and never out of the map", () => {
  const map = layout(groups(4, 16), 300);
  const columns = map.blocks[0]?.columns ?? 0;
  expect(columns).toBe(8);
  expect(step(map, 0, "ArrowLeft")).toBe(0);
  expect(step(map, 0, "ArrowRight")).toBe(1);
  expect(step(map, 0, "ArrowUp")).toBe(0);
  expect(step(map, 0, "ArrowDown")).toBe(columns);
  // Two groups stand side by side, so the one below the first is the third.
  expect(step(map, columns, "ArrowDown")).toBe(32);
  expect(step(map, 32, "ArrowUp")).toBe(columns);
  expect(step(map, 63, "ArrowDown")).toBe(63);
  expect(step(map, 63, "ArrowRight")).toBe(63);
  expect(step(map, 20, "Home")).toBe(16);
  expect(step(map, 20, "End")).toBe(31);
  expect(step(map, 20, "PageDown")).toBe(32);
  expect(step(map, 20, "PageUp")).toBe(0);
  expect(step(map, 60, "PageDown")).toBe(63);
  expect(step(map, 20, "x")).toBeNull();
  expect(step(layout([], 300), 0, "ArrowDown")).toBeNull();
});

test("only cells that changed are drawn anew", () => {
  expect(changed("01234", "01234")).toEqual([]);
  expect(changed("01234", "01114")).toEqual([2, 3]);
  expect(changed("", "11")).toEqual([0, 1]);
});

test("the next one that is degraded or down, round the end", () => {
  expect(nextBad("1141103", 0)).toBe(2);
  expect(nextBad("1141103", 2)).toBe(6);
  expect(nextBad("1141103", 6)).toBe(2);
  expect(nextBad("1120", 1)).toBeNull();
  expect(nextBad("4", -1)).toBe(0);
  expect(nextBad("", 0)).toBeNull();
});

test("cells are counted by kind", () => {
  expect(tally("0112344")).toEqual([1, 2, 1, 1, 2]);
});
