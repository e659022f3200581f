/** The overview from no target to fifty thousand: nodes, access, width, and what it says when data is old. */

import type { Browser } from "playwright-core";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { launch, open, violations, type Scheme } from "./browser";
import { overview } from "./data";
import { mock, type Mock } from "./mock";

let browser: Browser;
let api: Mock;
beforeAll(async () => {
  browser = await launch();
  api = await mock(overview(1));
});
afterAll(async () => {
  await browser.close();
  await api.close();
});
beforeEach(() => {
  api.state.token = null;
});

const MOST_NODES = 1_500;

for (const targets of [0, 1, 20, 500, 50_000]) {
  test(`${targets} targets: few nodes, and nothing that axe finds in light or dark`, async () => {
    api.state.overview = overview(targets);
    for (const scheme of ["light", "dark"] as Scheme[]) {
      const { page, errors, close } = await open(browser, api.base, scheme);
      await page.waitForSelector(targets === 0 ? ".empty" : ".uplot canvas");
      expect(await page.locator("*").count()).toBeLessThanOrEqual(MOST_NODES);
      expect(await violations(page), scheme).toEqual([]);
      expect(errors).toEqual([]);
      await close();
    }
  });
}

test("a phone scrolls the page in one direction only", async () => {
  for (const targets of [0, 1, 20, 500, 50_000]) {
    api.state.overview = overview(targets);
    const { page, close } = await open(browser, api.base, "light", { width: 390, height: 844 });
    await page.waitForSelector(targets === 0 ? ".empty" : ".uplot canvas");
    expect(await page.evaluate(() => document.documentElement.scrollWidth), `${targets} targets`).toBeLessThanOrEqual(390);
    await close();
  }
});

test("a graph is a table too, and the keys are listed", async () => {
  api.state.overview = overview(20);
  const { page, close } = await open(browser, api.base);
  await page.waitForSelector(".uplot canvas");
  await page.getByRole("button", { name: "View as table" }).click();
  const rows = page.locator(".plot-table tbody tr");
  expect(await rows.count()).toBe(60);
  expect(await rows.filter({ hasText: "unknown" }).count()).toBeGreaterThan(0);
  await page.keyboard.press("?");
  await page.waitForSelector("dialog[open]");
  expect(await violations(page)).toEqual([]);
  await page.keyboard.press("Escape");
  await page.keyboard.press("/");
  await page.waitForFunction(() => document.activeElement?.id === "search");
  await close();
});

test("Postgres away: the data is called stale and stays, in a node that is never replaced", async () => {
  api.state.overview = overview(20);
  const { page, close } = await open(browser, api.base);
  await page.waitForSelector(".uplot canvas");
  const line = await page.$("#line");
  api.state.overview = null;
  await page.getByRole("status").filter({ hasText: /Stale: data from \d\d:\d\d:\d\d/ }).waitFor({ timeout: 25_000 });
  expect(await page.locator(".windows tbody tr").count()).toBe(5);
  expect(await violations(page)).toEqual([]);
  expect(await page.evaluate((node) => node === document.getElementById("line"), line)).toBe(true);
  await close();
});

test("a token is asked for once and sent from then on", async () => {
  api.state.overview = overview(1);
  api.state.token = "a-token-of-enough-characters";
  const { page, close } = await open(browser, api.base);
  await page.getByLabel("Token").fill(api.state.token);
  expect(await violations(page)).toEqual([]);
  await page.getByRole("button", { name: "Read" }).click();
  await page.waitForSelector(".windows");
  await page.reload();
  await page.waitForSelector(".windows");
  await close();
});
