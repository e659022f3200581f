import { expect, test } from "vitest";
import { nameOf } from "../src/live";
import { tablePath, tableQuery } from "../src/table";

const read = (address: string): ((name: string) => string) => {
  const asked = new URLSearchParams(address);
  return (name) => asked.get(name) ?? "";
};
const PLAIN = { q: "", state: "", label: "", sort: "name", page: 1 };

test("an address without a query asks for the first page by name", () => {
  expect(tableQuery(read(""))).toEqual(PLAIN);
  expect(tablePath(PLAIN)).toBe("/api/v1/table");
});

test("what the address says is asked for, over HTTP too", () => {
  const address = "q=cart+%26+%C3%BC&state=down&label=team%3Ashop&sort=slow&page=3";
  const query = tableQuery(read(address));
  expect(query).toEqual({ q: "cart & ü", state: "down", label: "team:shop", sort: "slow", page: 3 });
  const path = tablePath(query);
  expect(path.startsWith("/api/v1/table?")).toBe(true);
  expect(tableQuery(read(path.split("?")[1] ?? ""))).toEqual(query);
});

test("what nobody can mean is as if it were not there", () => {
  for (const address of ["state=sideways", "sort=toString", "page=-2", "page=0", "page=x", "label=team", "label=:shop", "label=team:", "q=++"]) {
    expect(tableQuery(read(address)), address).toEqual(PLAIN);
  }
  expect(tableQuery(read("page=2.9")).page).toBe(2);
  expect(tableQuery(read("page=1e300")).page).toBe(1_000_000);
  expect(tableQuery(read(`q=++a++++b${"x".repeat(300)}`)).q).toBe(`a b${"x".repeat(194)}`);
});

test("two searches have two names, and one search has one", () => {
  const one = { subscribe: "table" as const, ...PLAIN };
  expect(nameOf(one)).toBe(nameOf({ ...one }));
  for (const other of [{ q: "a" }, { state: "up" }, { label: "a:b" }, { sort: "age" }, { page: 2 }])
    expect(nameOf({ ...one, ...other })).not.toBe(nameOf(one));
});
