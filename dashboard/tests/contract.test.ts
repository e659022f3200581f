/** What the api says it sends, held against what the page makes of it. */

import { expect, test } from "vitest";
import delta from "../contract/delta.json";
import error from "../contract/error.json";
import mapSample from "../contract/map.json";
import overview from "../contract/overview.json";
import snapshot from "../contract/snapshot.json";
import tableSample from "../contract/table.json";
import { columns, sentence, share } from "../src/format";
import { CELLS, tally } from "../src/map";
import type { Frame, NamedWindow, Overview, TablePage, TargetMap } from "../src/model";
import { apply } from "../src/sequence";
import { holes, ofOverview } from "../src/series";

// The compiler finds a member that the samples have otherwise than the model.
const sample = overview as unknown as Overview;

test("the overview has every member that the page reads", () => {
  expect(Object.keys(overview).sort()).toEqual(
    [
      "as_of", "attention", "changes", "counts", "groups", "health", "incidents", "more_attention", "newest_check",
      "open_incidents", "series", "targets", "windows",
    ].sort(),
  );
  expect(sample.windows.map((window) => window.name)).toEqual(["1m", "5m", "15m", "1h", "24h"]);
  const { targets, up, degraded, down, unknown } = sample.counts;
  expect(up + degraded + down + unknown).toBe(targets);
  expect(sentence(sample.counts)).not.toBe("");
  expect(Object.keys(sample.targets?.[0] ?? {}).sort()).toEqual(
    ["checked_at", "code", "elapsed_ms", "failed_1h", "failed_5m", "key", "name", "state"].sort(),
  );
  expect(Object.keys(sample.attention[0] ?? {}).sort()).toEqual(
    ["cause", "code", "failed_5m", "incident", "key", "name", "since", "state"].sort(),
  );
  expect(Object.keys(sample.health).sort()).toEqual(
    [
      "missed", "offline_since", "queue_depth", "readers", "spool_depth", "unknown", "workers_offline", "workers_running", "worst_lag_ms",
    ].sort(),
  );
  const { bad, total } = sample.attention[0]?.failed_5m ?? { bad: 0, total: 0 };
  expect(share(bad, total)).toMatch(/^\d+ of \d+( \(.*%\))?$/);
});

test("the columns of every window add up to its total", () => {
  for (const window of sample.windows as NamedWindow[]) {
    const { noResponse, c500, c200, other, total, others, causes } = columns(window);
    expect(noResponse + (c500 ?? 0) + (c200 ?? 0) + other, window.name).toBe(total);
    expect(others.reduce((all, [, n]) => all + n, 0)).toBe(other);
    expect(causes.reduce((all, [, n]) => all + n, 0)).toBe(noResponse);
  }
});

test("the series of the overview ends with the hour and is hatched where nothing is known", () => {
  const points = ofOverview(sample.series);
  expect(points.times[points.times.length - 1]).toBe(Date.parse(sample.series.to) / 1000);
  const known = points.failed.filter((value) => value !== null).length;
  const hatched = holes(points).reduce((all, [from, to]) => all + (to - from) / points.step, 0);
  expect(hatched).toBeCloseTo(points.failed.length - known);
});

test("the delta of the contract fits its snapshot", () => {
  const first = snapshot as unknown as Extract<Frame, { type: "snapshot" }>;
  const next = delta as unknown as Extract<Frame, { type: "delta" }>;
  const state = apply({ seq: first.seq, data: first.data as Record<string, unknown> }, next);
  expect(state?.seq).toBe(next.seq);
  const [before, after] = [first.data, state?.data] as unknown as [Overview, Overview];
  expect(Date.parse(after.as_of)).toBeGreaterThan(Date.parse(before.as_of));
  for (const [list, { put, gone }] of Object.entries(next.rows)) {
    const rows = after[list as "targets"] as unknown as Record<string, unknown>[];
    for (const row of put) expect(rows).toContainEqual(row);
    expect(rows.length).toBeLessThanOrEqual((before[list as "targets"]?.length ?? 0) + put.length - gone.length);
  }
  expect(after.windows.map((window) => window.name)).toEqual(before.windows.map((window) => window.name));
  expect(error.type).toBe("error");
});

test("the table has every member that the page reads, and the map a cell for each of its rows", () => {
  const page = tableSample as unknown as TablePage;
  expect(Object.keys(page).sort()).toEqual(["as_of", "found", "page", "page_size", "pages", "rows", "total"]);
  for (const row of page.rows)
    expect(Object.keys(row).sort()).toEqual(
      [
        "cause", "checked_at", "code", "elapsed_ms", "failed_1h", "failed_5m", "group", "interval_ms", "key", "labels", "name", "state", "url",
      ].sort(),
    );
  const map = mapSample as unknown as TargetMap;
  expect(map.groups.reduce((sum, group) => sum + group.n, 0)).toBe(map.cells.length);
  // The same fleet: the order is that of groups, and a target that is up has a cell of its own kind if it failed lately.
  const byGroup = [...page.rows].sort((a, b) => (a.group < b.group ? -1 : 1));
  expect(map.groups.map((group) => group.name)).toEqual(byGroup.map((row) => row.group));
  expect([...map.cells].map((cell) => CELLS[Number(cell)]?.is)).toEqual(byGroup.map((row) => row.state));
  expect(tally(map.cells).reduce((sum, n) => sum + n, 0)).toBe(page.total);
});
