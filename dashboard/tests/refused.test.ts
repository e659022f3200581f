import { expect, test } from "vitest";
import type { System } from "../src/model";
import { refused } from "../src/refused";
import { system } from "./e2e/data";

const worker = (id: string, config_error: string | null, state: "running" | "stopped" | "gone" = "running"): System["workers"][number] => ({
  ...(system(1).workers[0] as System["workers"][number]), id, state, config_error,
});

const problem = "targets.yaml:3:9: [1].interval: \"5ms\" is below the minimum 1s";

test("nothing is said of workers that use the newest configuration", () => {
  expect(refused([])).toEqual([]);
  expect(refused([worker("a", null), worker("b", "")])).toEqual([]);
});

test("the same problems are told once, with everybody who has them", () => {
  const other = "targets.yaml: no targets are left of 3";
  expect(refused([worker("a", problem), worker("b", other), worker("c", problem), worker("d", null)])).toEqual([
    { workers: ["a", "c"], problems: problem },
    { workers: ["b"], problems: other },
  ]);
});

test("the problems of a worker that has ended are over", () => {
  expect(refused([worker("a", problem, "stopped"), worker("b", problem, "gone")])).toEqual([]);
});
