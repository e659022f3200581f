import { expect, test } from "vitest";
import type { Day } from "../src/model";
import { describe as words, kindOf, move, overall } from "../src/strip";

const day = (up: number, down: number, missed = 0, more: Partial<Day> = {}): Day => ({
  date: "2026-11-20",
  up,
  degraded: 0,
  down,
  missed,
  unknown: 0,
  uptime_percentage: up + down === 0 ? null : (up / (up + down)) * 100,
  coverage_percentage: up + down + missed === 0 ? null : ((up + down) / (up + down + missed)) * 100,
  incidents: 0,
  incident_minutes: 0,
  ...more,
});

test("a day is drawn by its uptime, and one without a verdict as unknown", () => {
  expect(kindOf(day(100, 0))).toBe("up");
  expect(kindOf(day(995, 5))).toBe("degraded");
  expect(kindOf(day(98, 2))).toBe("down");
  expect(kindOf(day(0, 0, 50))).toBe("unknown");
});

test("a day is told in words: date, uptime, coverage and incidents", () => {
  expect(words(day(100, 0))).toBe("2026-11-20: uptime 100 %, coverage 100 %, no incident");
  expect(words(day(98, 2, 0, { incidents: 2, incident_minutes: 95 }))).toBe(
    "2026-11-20: uptime 98.0 %, coverage 100 %, 2 incidents, 1 h 35 min in all",
  );
  expect(words(day(0, 0, 50))).toBe("2026-11-20: no data");
  expect(words(day(999_999, 1)), "never a rounded hundred").toContain("uptime > 99.9 %");
});

test("a strip's uptime is of its checks, so that a day with few of them counts for little", () => {
  expect(overall([day(9_999, 0), day(0, 1)])).toEqual({ uptime: 99.99, coverage: 100 });
  expect(overall([day(50, 0, 50)])).toEqual({ uptime: 100, coverage: 50 });
  expect(overall([day(0, 0)])).toEqual({ uptime: null, coverage: null });
});

test("keys go from day to day and week to week, and stop at the ends", () => {
  expect(move(5, 90, "ArrowLeft")).toBe(4);
  expect(move(89, 90, "ArrowRight")).toBe(89);
  expect(move(5, 90, "PageUp")).toBe(0);
  expect(move(5, 90, "PageDown")).toBe(12);
  expect(move(5, 90, "Home")).toBe(0);
  expect(move(5, 90, "End")).toBe(89);
  expect(move(5, 90, "Enter")).toBeNull();
});
