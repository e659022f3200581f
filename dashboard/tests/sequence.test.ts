import { expect, test } from "vitest";
import { apply, keepOrder, type Held } from "../src/sequence";

const held: Held = {
  seq: 7,
  data: { as_of: "a", targets: [{ key: "x", state: "up" }, { key: "y", state: "up" }], windows: [{ name: "1m", n: 1 }, { name: "5m", n: 2 }] },
};

test("a delta replaces members, replaces, adds and removes rows, and keeps the order of the others", () => {
  const next = apply(held, {
    seq: 9,
    base: 7,
    set: { as_of: "b" },
    rows: {
      targets: { put: [{ key: "z", state: "down" }, { key: "y", state: "down" }], gone: ["x"] },
      windows: { put: [{ name: "1m", n: 3 }], gone: [] },
    },
  });
  expect(next).toEqual({
    seq: 9,
    data: {
      as_of: "b",
      targets: [{ key: "y", state: "down" }, { key: "z", state: "down" }],
      windows: [{ name: "1m", n: 3 }, { name: "5m", n: 2 }],
    },
  });
  expect(held.data.as_of).toBe("a");
});

test("a delta of another state is not for us", () => {
  const delta = { seq: 9, base: 8, set: {}, rows: {} };
  expect(apply(held, delta)).toBeNull();
  expect(apply(null, delta)).toBeNull();
});

test("deltas one by one and in one go come to the same", () => {
  const steps = Array.from({ length: 20 }, (_, i) => ({
    seq: 8 + i,
    base: 7 + i,
    set: { n: i },
    rows: { targets: { put: [{ key: `t${i % 5}`, state: i % 2 ? "up" : "down" }], gone: i % 3 ? [] : [`t${(i + 1) % 5}`] } },
  }));
  const end = steps.reduce<Held | null>((state, delta) => apply(state, delta), held);
  expect(end?.seq).toBe(27);
  const keys = (end?.data.targets as { key: string }[]).map((row) => row.key);
  expect(new Set(keys).size).toBe(keys.length);
});

test("nothing changes places under the pointer, and what is new comes last", () => {
  expect(keepOrder(["a", "b", "c"], ["c", "d", "a"], true)).toEqual(["a", "c", "d"]);
  expect(keepOrder(["a", "b", "c"], ["c", "d", "a"], false)).toEqual(["c", "d", "a"]);
});
