import { expect, test } from "vitest";
import type { Attention } from "../src/model";
import { nextOrder, roomFor, worstFirst } from "../src/order";
import { keepOrder, moved } from "../src/sequence";

const list = (names: string, of = "search", applied = 0): { names: string[]; of: string; applied: number } => ({
  names: [...names],
  of,
  applied,
});
const still = (shown: string[]): string[] => shown;

test("rows stand still while they are held, and go where they belong after that", () => {
  const shown = nextOrder(list("abc"), list("cad"), true, still);
  expect(shown.names).toEqual([..."abc"]);
  expect(nextOrder(shown, list("cad"), false, still).names).toEqual([..."cad"]);
});

test("who applies the order gets it at once, and it holds again", () => {
  const shown = nextOrder(list("abc"), list("cab", "search", 1), true, still);
  expect(shown.names).toEqual([..."cab"]);
  expect(nextOrder(shown, list("bca", "search", 1), true, still).names).toEqual([..."cab"]);
});

test("another search is another list, held or not", () => {
  expect(nextOrder(list("abc"), list("xyz", "another"), true, still).names).toEqual([..."xyz"]);
});

test("what needs attention keeps its place, and what is new comes last", () => {
  expect(nextOrder(list("abc"), list("dca"), true, (shown, wanted) => keepOrder(shown, wanted, true)).names).toEqual([..."acd"]);
});

test("as few rows are said to move as have to", () => {
  expect(moved([..."abcdef"], [..."abcdef"])).toBe(0);
  expect(moved([..."abcdef"], [..."fabcde"])).toBe(1);
  expect(moved([..."abcdef"], [..."fedcba"])).toBe(5);
  expect(moved([..."abc"], [..."abd"])).toBe(1);
  expect(moved([..."abc"], [])).toBe(3);
  expect(moved([], [..."ab"])).toBe(2);
});

const one = (name: string, state: Attention["state"], bad: number, total: number, incident: number | null = null): Attention => ({
  key: name,
  name,
  state,
  since: null,
  cause: null,
  code: null,
  failed_5m: { bad, total },
  incident,
});
const names = (all: Attention[]): string => worstFirst(all).map(({ name }) => name).join("");

test("the worst stand first: broken, degraded, unknown, and by what share of their checks failed", () => {
  const all = [one("u", "unknown", 0, 0), one("d", "degraded", 0, 60), one("b", "down", 3, 60), one("a", "down", 60, 60)];
  expect(names(all)).toBe("abdu");
});

test("a check more or less, and up for a moment within an incident, move nothing", () => {
  expect(names([one("b", "down", 25, 25), one("a", "down", 24, 24), one("c", "down", 6, 24, 5)])).toBe("abc");
  expect(names([one("a", "down", 25, 25), one("b", "down", 25, 25), one("c", "up", 6, 25, 5)])).toBe("abc");
});

test("a list keeps its room for a minute after it had most rows", () => {
  const most = roomFor({ rows: 1, at: 0 }, 3, 1_000);
  expect(most).toEqual({ rows: 3, at: 1_000 });
  expect(roomFor(most, 0, 61_000)).toBe(most);
  expect(roomFor(most, 3, 50_000)).toEqual({ rows: 3, at: 50_000 });
  expect(roomFor(most, 1, 61_001)).toEqual({ rows: 1, at: 61_001 });
});
