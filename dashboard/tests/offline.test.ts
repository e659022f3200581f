import { expect, test } from "vitest";
import type { System } from "../src/model";
import { offline, offlineOf } from "../src/offline";
import { system } from "./e2e/data";

const NOON = "2026-11-21T12:00:00.000000Z";
const LATER = "2026-11-21T12:00:07.000000Z";

const worker = (since: string | null, state: "running" | "stopped" | "gone" = "running"): System["workers"][number] => ({
  ...(system(1).workers[0] as System["workers"][number]), state, offline_since: since, own_network: since === null ? "ok" : "gone",
});

test("nothing is said while every worker has its network", () => {
  expect(offline({ workers_running: 2, workers_offline: 0, offline_since: null })).toBeNull();
  expect(offline({ workers_running: 0, workers_offline: 0, offline_since: null })).toBeNull();
  expect(offlineOf([])).toBeNull();
  expect(offlineOf([worker(null), worker(null)])).toBeNull();
});

test("that our own network is gone is told once, since the first worker noticed", () => {
  const all = { words: "lookout's own network or name server is gone.", since: NOON };
  expect(offline({ workers_running: 2, workers_offline: 2, offline_since: NOON })).toEqual(all);
  expect(offlineOf([worker(LATER), worker(NOON)])).toEqual(all);
});

test("where some workers still have theirs it says how many do not", () => {
  const one = { words: "The network or name server of 1 of 2 workers is gone.", since: NOON };
  expect(offline({ workers_running: 2, workers_offline: 1, offline_since: NOON })).toEqual(one);
  expect(offlineOf([worker(null), worker(NOON)])).toEqual(one);
});

test("what a worker said before it ended is over", () => {
  expect(offlineOf([worker(NOON, "stopped"), worker(NOON, "gone"), worker(null)])).toBeNull();
});
