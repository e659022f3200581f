import { expect, test } from "vitest";
import type { Summary } from "../src/model";
import { holes, ofLatency, ofSummary, thin, union, type Points } from "../src/series";

const summary = (steps: [number, number, number][]): Summary =>
  ({
    window: { from: "2026-11-21T12:00:00Z", to: new Date(Date.UTC(2026, 10, 21, 12, 0, steps.length * 10)).toISOString(), seconds: steps.length * 10, source: "rows", step_seconds: 10 },
    series: steps.map(([up, down, missed], i) => ({
      at: new Date(Date.UTC(2026, 10, 21, 12, 0, i * 10)).toISOString(), up, degraded: 0, down, missed, unknown: 0, failure_percentage: null,
    })),
  }) as unknown as Summary;

test("each point is the share of a whole window that ends there", () => {
  const points = ofSummary(summary([[1, 0, 0], [0, 1, 0], [1, 0, 0], [1, 0, 0]]), 20);
  expect(points.failed).toEqual([50, 50, 0]);
  expect(points.times[0]).toBe(Date.UTC(2026, 10, 21, 12, 0, 20) / 1000);
});

test("missed checks lower coverage and leave the share alone", () => {
  const points = ofSummary(summary([[1, 1, 2], [1, 0, 3]]), 10);
  expect([points.failed, points.coverage]).toEqual([[50, 0], [50, 25]]);
  // A line of which less than half is known is hatched.
  expect(holes(points).length).toBe(1);
});

test("silence is a hole and not a zero", () => {
  const points = ofSummary(summary([[1, 0, 0], [0, 0, 1], [0, 0, 0], [1, 0, 0]]), 0);
  expect(points.failed).toEqual([0, null, null, 0]);
  const start = Date.UTC(2026, 10, 21, 12) / 1000;
  expect(holes(points)).toEqual([[start + 10, start + 30]]);
});

test("a thinned table keeps the worst of every stretch", () => {
  const failed = Array.from({ length: 600 }, (_, i) => (i === 333 ? 90 : null));
  const points: Points = { times: failed.map((_, i) => i), failed, coverage: failed.map(() => 100), step: 1 };
  const few = thin(points, 60);
  expect(few.times.length).toBe(60);
  expect(few.failed.filter((value) => value !== null)).toEqual([90]);
  expect(thin(points, 600)).toBe(points);
});

test("incidents at the same time are one shade", () => {
  const spans = [{ from: 5, to: 9 }, { from: 1, to: 3 }, { from: 2, to: 4 }, { from: 6, to: 7 }];
  expect(union(spans)).toEqual([{ from: 1, to: 4 }, { from: 5, to: 9 }]);
});

test("latency has two lines, and of a stretch the slowest step is kept", () => {
  const points = ofLatency({
    window: { from: "2026-11-20T00:00:10Z", to: "2026-11-20T00:03:30Z", seconds: 200, source: "second" },
    first_step_at: "2026-11-20T00:00:00Z",
    step_seconds: 60,
    p50_ms: [10, 11, null, 12],
    p95_ms: [20, 99, null, 30],
    p50_ms_all: 11,
    p95_ms_all: 90,
    max_ms: 120,
  });
  const from = Date.parse("2026-11-20T00:00:00Z") / 1000;
  expect(points.times.map((at) => at - from)).toEqual([60, 120, 180, 210]);
  expect(points.above).toEqual([20, 99, null, 30]);
  expect(thin(points, 2)).toMatchObject({ failed: [11, 12], above: [99, 30] });
});
