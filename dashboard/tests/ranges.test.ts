import { expect, test } from "vitest";
import { chooseRange, chooseWindow, inUnits, RANGES, shown, title } from "../src/ranges";

const of = (window = "", range = ""): ReturnType<typeof shown> => shown((name) => (name === "window" ? window : range));

test("without a word in the address the last hour is drawn, five minutes at a time", () => {
  expect(of()).toEqual({ window: "5m", range: "1h", windowSeconds: 300, rangeSeconds: 3600, asked: "3900s" });
  expect(of("yesterday", "constructor")).toEqual(of());
});

test("a window has its usual range, and another is said", () => {
  expect(of("24h").range).toBe("7d");
  expect(of("1m", "30d")).toMatchObject({ window: "1m", range: "30d" });
  expect(chooseWindow("1h")).toEqual({ window: "1h", range: "" });
  expect(chooseWindow("5m")).toEqual({ window: "", range: "" });
  expect(chooseRange("7d", of("24h"))).toEqual({ range: "" });
  expect(chooseRange("1h", of("24h"))).toEqual({ range: "1h" });
});

test("the title says what is drawn, also where a step is longer than the window", () => {
  expect(title(300, 10, "1h")).toBe("Failed in 5 min, over 1 h");
  expect(title(60, 3600, "30d")).toBe("Failed in 1 h, over 30 d");
});

test("the api is asked for no days, which it does not know", () => {
  expect(inUnits("7d")).toBe("604800s");
  for (const range of Object.keys(RANGES)) expect(inUnits(range)).toMatch(/^\d+s$/);
});
