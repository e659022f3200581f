import { expect, test } from "vitest";
import { nextOrder } from "../src/order";
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
