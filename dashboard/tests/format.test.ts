import { expect, test } from "vitest";
import { clock, columns, duration, milliseconds, percent, quantile, sentence, share } from "../src/format";
import type { Measure } from "../src/model";
import { timeline } from "../src/timeline";

const measure = (more: Partial<Measure>): Measure => ({
  counts: { up: 56, degraded: 0, down: 4, missed: 0, unknown: 0, verdicts: 60, due: 60 },
  no_response: { dns: 0, refused: 1, timeout: 1, reset: 0, tls: 0, protocol: 0 },
  status_classes: { "1xx": 0, "2xx": 56, "3xx": 0, "4xx": 1, "5xx": 1 },
  failure_percentage: 6.667,
  coverage_percentage: 100,
  ...more,
});

test("a share of few says of how few", () => {
  expect(share(1, 2)).toBe("1 of 2 (50.0 %)");
  expect(share(0, 0)).toBe("no verdict");
  expect(share(0, 30)).toBe("0 of 30");
  expect(share(5, 1000)).toBe("0.5 %");
});

test("a percentage is never rounded to nothing or to all", () => {
  expect([0, 0.01, 0.06, 3.14159, 99.96, 100, null].map(percent)).toEqual(["0 %", "< 0.1 %", "< 0.1 %", "3.1 %", "> 99.9 %", "100 %", "–"]);
});

test("times are said in their largest units", () => {
  expect([0, 59, 61, 3599, 3600, 7260, 90_000].map(duration)).toEqual(["0 s", "59 s", "1 min 1 s", "59 min", "1 h", "2 h 1 min", "1 d 1 h"]);
  expect([0.46, 12.345, 12_345, null].map(milliseconds)).toEqual(["0.5 ms", "12 ms", "12.3 s", "–"]);
  const at = new Date(2026, 10, 21, 9, 5, 7);
  expect(clock(at, at)).toBe("09:05:07");
  expect(clock(at, new Date(2026, 10, 22))).toBe("2026-11-21 09:05:07");
});

test("states that nobody is in are left out of the sentence", () => {
  expect(sentence({ up: 18, degraded: 1, down: 1, unknown: 0 })).toBe("18 up, 1 degraded, 1 down");
});

test("columns tell 200 and 500 apart from all others and name those", () => {
  expect(columns(measure({ status_codes: { "200": 56, "404": 1, "500": 1 } }))).toEqual({
    noResponse: 2, c500: 1, c200: 56, other: 1, total: 60, others: [["404", 1]], causes: [["refused", 1], ["timeout", 1]],
  });
});

test("checks that are down with neither a code nor a cause that is counted are not lost", () => {
  const cells = columns(measure({ status_codes: { "200": 50, "500": 1 } }));
  expect(cells.other).toBe(7);
  expect(cells.others).toEqual([["without a code", 7]]);
});

test("where only classes are kept nothing is made up for 200 and 500", () => {
  const cells = columns(measure({}));
  expect([cells.c500, cells.c200, cells.other, cells.noResponse + cells.other]).toEqual([null, null, 58, 60]);
  expect(cells.others[0]).toEqual(["2xx", 56]);
});

test("quantiles are values that were measured", () => {
  expect(quantile([], 0.5)).toBeNull();
  expect(quantile([5, 1, 3], 0.5)).toBe(3);
  expect(quantile([1, 2, 3, 4], 0.95)).toBe(4);
});

test("a timeline is in order of time and names the suspect and the fix", () => {
  const change = (commit: string, at: string) => ({ commit, author: null, at });
  const entries = timeline({
    id: 1, service: "shop", verb: "GET", resource: "/", target: null, objective: 0.9, window_seconds: 300, good: 8, total: 10,
    started_at: "2026-11-21T12:00:00Z", ended_at: "2026-11-21T12:10:00Z", duration_seconds: 600,
    break: change("bad", "2026-11-21T11:56:00Z"), fix: change("good", "2026-11-21T12:09:00Z"),
    failures: [{ at: "2026-11-21T11:59:00Z", cause: "timeout", code: null, elapsed_ms: 2000 }],
    changes: [change("good", "2026-11-21T12:09:00Z"), change("bad", "2026-11-21T11:56:00Z")],
  });
  expect(entries.map((entry) => entry.text)).toEqual([
    "Change bad, 4 min before the objective broke (the suspect)",
    "First failure: timeout, 2,000 ms",
    "Objective broken: 2 of 10 (20.0 %) failed in the last 5 min",
    "Change good (the fix)",
    "Objective restored",
  ]);
});

test("a service that recovered by itself has one suspect and no fix", () => {
  const flaky = { commit: "flaky", author: "mo", at: "2026-11-21T11:56:00Z" };
  const entries = timeline({
    id: 1, service: "shop", verb: "GET", resource: "/", target: null, objective: 0.9, window_seconds: 300, good: 8, total: 10,
    started_at: "2026-11-21T12:00:00Z", ended_at: "2026-11-21T12:10:00Z", duration_seconds: 600,
    break: flaky, fix: flaky, failures: [], changes: [flaky],
  });
  expect(entries[0]?.text).toBe("Change flaky by mo, 4 min before the objective broke (the suspect; no other change before it recovered)");
});
