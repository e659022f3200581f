/** The pages from no target to fifty thousand: what they weigh, nodes, access, width, and what stands still. */

import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { launch, open, violations, watchMoves, type Scheme } from "./browser";
import { keyOf, overview } from "./data";
import { mock, push, type Mock } from "./mock";

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

const SIZES = [0, 1, 20, 500, 50_000];
const SCHEMES: Scheme[] = ["light", "dark"];
const MOST_NODES = 1_500;
const KIB = 1024;
/** For the figures of a report, which say more than that a bound holds. */
const say = (what: string, value: number | string): void => console.info(`figure: ${what}: ${value}`);

test("what is loaded before anything is seen is small", () => {
  const dist = join(import.meta.dirname, "../../dist");
  const html = readFileSync(join(dist, "index.html"), "utf8");
  const weigh = (of: RegExp): number =>
    [...html.matchAll(of)].reduce((sum, [, path]) => sum + statSync(join(dist, `${path}.gz`)).size, 0);
  const js = weigh(/(?:src|href)="(\/assets\/[^"]+\.js)"/g);
  const css = weigh(/href="(\/assets\/[^"]+\.css)"/g);
  say("initial JavaScript, gzipped", `${(js / KIB).toFixed(1)} KiB`);
  say("initial CSS, gzipped", `${(css / KIB).toFixed(1)} KiB`);
  expect(js).toBeGreaterThan(0);
  expect(js).toBeLessThanOrEqual(45 * KIB);
  expect(css).toBeGreaterThan(0);
  expect(css).toBeLessThanOrEqual(12 * KIB);
});

test("an overview is few bytes at any size", () => {
  for (const [targets, most] of [[500, 20 * KIB], [50_000, 120 * KIB]] as const) {
    const bytes = gzipSync(JSON.stringify(overview(targets))).length;
    say(`overview of ${targets}, gzipped`, `${(bytes / KIB).toFixed(1)} KiB`);
    expect(bytes).toBeLessThanOrEqual(most);
  }
});

async function isFine(path: string, isThere: string, what: string): Promise<void> {
  for (const scheme of SCHEMES) {
    const { page, errors, close } = await open(browser, api.base + path, scheme);
    await page.waitForSelector(isThere);
    const nodes = await page.locator("*").count();
    if (scheme === "light") say(`nodes, ${what}`, nodes);
    expect(nodes, what).toBeLessThanOrEqual(MOST_NODES);
    expect(await violations(page), `${what}, ${scheme}`).toEqual([]);
    expect(errors, what).toEqual([]);
    await close();
  }
}

for (const targets of SIZES) {
  test(`${targets} targets: few nodes, and nothing that axe finds in light or dark`, async () => {
    api.state.overview = overview(targets);
    await isFine("/", targets === 0 ? ".empty" : ".uplot canvas", `overview of ${targets}`);
    await isFine("/targets", targets === 0 ? ".note" : "table.all", `table of ${targets}`);
    if (targets > 20) await isFine("/?map=1", ".legend", `overview of ${targets} with the map`);
    if (targets > 20) await isFine("/targets?map=1&sort=state", ".legend", `table of ${targets} with the map`);
  });
}

test("every other page: few nodes, and nothing that axe finds in light or dark", async () => {
  api.state.overview = overview(20);
  await isFine(`/targets/${keyOf(3)}`, ".strip .day", "a target");
  for (const path of ["/incidents", "/incidents/7", "/changes", "/system"]) await isFine(path, ".card", path);
});

test("a phone scrolls the page in one direction only", async () => {
  for (const targets of SIZES) {
    api.state.overview = overview(targets);
    for (const path of ["/", "/targets?map=1", `/targets/${keyOf(0)}`]) {
      const { page, close } = await open(browser, api.base + path, "light", { width: 390, height: 844 });
      await page.waitForSelector(".card, .note:not(.loading)");
      await page.waitForTimeout(300);
      expect(await page.evaluate(() => document.documentElement.scrollWidth), `${path} of ${targets}`).toBeLessThanOrEqual(390);
      await close();
    }
  }
});

test("the main thread is free soon: little is blocked while 500 targets are drawn", async () => {
  api.state.overview = overview(500);
  const blocked: number[] = [];
  for (let i = 0; i < 3; i += 1) {
    const page = await browser.newPage();
    await page.addInitScript(() => {
      const seen = window as unknown as { blocked: number };
      seen.blocked = 0;
      new PerformanceObserver((list) => {
        for (const { duration } of list.getEntries()) seen.blocked += Math.max(0, duration - 50);
      }).observe({ type: "longtask", buffered: true });
    });
    await page.goto(api.base);
    await page.waitForSelector(".uplot canvas");
    await page.waitForTimeout(1_000);
    blocked.push(await page.evaluate(() => (window as unknown as { blocked: number }).blocked));
    await page.close();
  }
  const least = Math.min(...blocked);
  say("blocked at 500 targets, of three loads", blocked.map((ms) => `${Math.round(ms)} ms`).join(", "));
  // A hundred is what is wanted; machines that do other things besides are slower, and no test is to fail for it.
  expect(least).toBeLessThanOrEqual(300);
});

const LIVE_SECONDS = process.env.LONG === "1" ? 60 : 6;
/** Sorted by name: what is sorted by a value that moves is sorted anew now and then. */
const PAGES = ["/", "/targets", `/targets/${keyOf(3)}`];

test(`nothing moves in ${LIVE_SECONDS} s of live updates`, { timeout: 900_000 }, async () => {
  for (const targets of [1, 20, 500, 50_000]) {
    api.state.overview = overview(targets);
    for (const path of PAGES.slice(0, targets > 3 ? 3 : 2)) {
      const page = await browser.newPage({ viewport: { width: 1366, height: 768 } });
      await push(page, targets);
      await page.goto(api.base + path);
      await page.getByRole("status").filter({ hasText: /^Live$/ }).waitFor();
      await page.waitForSelector(path === "/targets" ? "table.all" : ".uplot canvas");
      await page.waitForTimeout(500);
      const moved = await watchMoves(page);
      await page.waitForTimeout(LIVE_SECONDS * 1000);
      const sum = await moved();
      say(`moved in ${LIVE_SECONDS} s, ${path} of ${targets}`, sum.toFixed(4));
      expect(sum, `${path} of ${targets}`).toBeLessThanOrEqual(0.02);
      await page.close();
    }
  }
});

/** What is in the page, also of names whose middle finds no room. */
const namesOf = (page: Page): Promise<string[]> => page.locator("table.all tbody th").allTextContents();

test("rows stand still under the pointer until somebody applies their order", async () => {
  api.state.overview = overview(500);
  const page = await browser.newPage();
  await push(page, 500);
  await page.goto(`${api.base}/targets?sort=slow`);
  await page.waitForSelector("table.all");
  await page.locator("table.all tbody tr").nth(3).hover();
  const before = await namesOf(page);
  const apply = page.getByRole("button", { name: /^\d+ rows? changed order – apply$/ });
  await apply.waitFor({ timeout: 10_000 });
  expect(await namesOf(page)).toEqual(before);
  await apply.focus();
  await page.keyboard.press("Enter");
  await expect.poll(() => namesOf(page)).not.toEqual(before);
  await page.close();
});

test("search, state, label, order and page are in the address, and only fifty rows on the page", async () => {
  api.state.overview = overview(50_000);
  const { page, close } = await open(browser, `${api.base}/targets`);
  await page.waitForSelector("table.all");
  await page.getByLabel("Search", { exact: true }).fill("checkout  shop-1");
  await page.getByLabel("Label", { exact: true }).fill("team:pay");
  await page.getByLabel("State").selectOption("down");
  await page.getByLabel("Order").selectOption("slow");
  const found = page.getByRole("status").filter({ hasText: /^\d+ found, 50,000 in all$/ });
  await found.waitFor();
  await expect.poll(() => page.url()).toContain("q=checkout");
  const address = new URL(page.url()).searchParams;
  expect(Object.fromEntries(address)).toEqual({ q: "checkout  shop-1", label: "team:pay", state: "down", sort: "slow" });
  const isFound = async (): Promise<boolean> => {
    const names = await namesOf(page);
    return names.length > 0 && names.every((name) => /shop-1\d\d.*checkout/.test(name));
  };
  await expect.poll(isFound).toBe(true);
  expect(await page.locator("table.all tbody tr").filter({ hasText: "team:pay" }).filter({ hasText: "down" }).count()).toBe(
    await page.locator("table.all tbody tr").count(),
  );
  const count = await found.innerText();
  await page.reload();
  await expect.poll(isFound).toBe(true);
  expect(await found.innerText()).toBe(count);
  await page.goto(`${api.base}/targets?page=1000`);
  await page.getByText("Page 1000 of 1000").waitFor();
  expect((await namesOf(page)).length).toBe(50);
  await page.getByRole("button", { name: "Previous" }).click();
  await page.getByText("Page 999 of 1000").waitFor();
  expect(page.url()).toContain("page=999");
  // The pointer is still on the button, within the list that stands still: another page is another list.
  expect((await namesOf(page))[0]).toMatch(/49900$/);
  await close();
});

test("the map is walked by keys, names what it shows and opens it", async () => {
  api.state.overview = overview(50_000);
  const { page, close } = await open(browser, `${api.base}/targets`);
  await page.getByRole("button", { name: "Map of all targets" }).click();
  expect(page.url()).toContain("map=1");
  const map = page.getByRole("application");
  await map.focus();
  const says = page.locator(".map-says p");
  await expect.poll(() => says.innerText()).toContain("/00000");
  for (const key of ["ArrowRight", "ArrowRight", "ArrowRight"]) await page.keyboard.press(key);
  await expect.poll(() => says.innerText()).toMatch(/^■ down · .*\/00003 · shop-000/);
  await page.keyboard.press("PageDown");
  await expect.poll(() => says.innerText()).toContain("/00250");
  await page.keyboard.press("Enter");
  await expect.poll(() => new URL(page.url()).pathname).toBe(`/targets/${keyOf(250)}`);
  await close();
});

test("the map is pointed at, and a click opens what is there", async () => {
  api.state.overview = overview(500);
  const { page, close } = await open(browser, api.base);
  const map = page.getByRole("application");
  await map.scrollIntoViewIfNeeded();
  await map.hover({ position: { x: 3 * 14 + 7, y: 7 } });
  await expect.poll(() => page.locator(".map-says p").innerText()).toMatch(/^■ down · .*\/00003/);
  await map.click({ position: { x: 3 * 14 + 7, y: 7 } });
  await expect.poll(() => new URL(page.url()).pathname).toBe(`/targets/${keyOf(3)}`);
  await close();
});

test("the strip of days is one stop of the Tab key; arrows go from day to day", async () => {
  api.state.overview = overview(20);
  const { page, close } = await open(browser, `${api.base}/targets/${keyOf(3)}`);
  const days = page.locator(".day");
  await days.first().waitFor();
  expect(await days.count()).toBe(90);
  expect(await page.locator(".day[tabindex='0']").count()).toBe(1);
  await page.locator(".day[tabindex='0']").focus();
  const focused = (): Promise<string | null> => page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? null);
  const today = await focused();
  expect(today).toMatch(/^\d{4}-\d\d-\d\d: uptime 99\.\d %, coverage > 99\.9 %, 1 incident, /);
  await page.keyboard.press("Home");
  expect(await focused()).toMatch(/: no data$/);
  expect(await page.locator(".day-says").innerText()).toBe(await focused());
  await page.keyboard.press("End");
  expect(await focused()).toBe(today);
  await page.keyboard.press("PageUp");
  await page.keyboard.press("ArrowRight");
  expect(await page.locator(".day[tabindex='0']").count()).toBe(1);
  await page.keyboard.press("Tab");
  expect(await page.evaluate(() => document.activeElement?.classList.contains("day"))).toBe(false);
  await page.setViewportSize({ width: 390, height: 844 });
  await expect.poll(() => days.count()).toBe(30);
  await close();
});

test("a row of the window table chooses what the graph draws, by Enter too, and the address says it", async () => {
  for (const [targets, path] of [[20, "/"], [20, `/targets/${keyOf(3)}`], [1, "/"]] as const) {
    api.state.overview = overview(targets);
    const { page, close } = await open(browser, api.base + path);
    await page.waitForSelector(".uplot canvas");
    await page.locator("[data-window='1h'] td").last().click();
    await page.getByRole("heading", { name: "Failed in 1 h, over 24 h" }).waitFor();
    expect(page.url()).toContain("window=1h");
    await page.locator("[data-window='24h'] th button").focus();
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Failed in 1 d, over 7 d" }).waitFor();
    await page.getByRole("button", { name: "30 d", pressed: false }).first().click();
    expect(page.url()).toContain("range=30d");
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

test("whoever pauses and then looks elsewhere sees that, once", async () => {
  api.state.overview = overview(20);
  const page = await browser.newPage();
  await push(page, 20);
  await page.goto(api.base);
  await page.waitForSelector(".windows");
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByRole("link", { name: "Targets", exact: true }).click();
  await page.waitForSelector("table.all");
  await page.getByRole("link", { name: /00003$/ }).click();
  await page.waitForSelector(".strip");
  const before = await page.locator("[data-window='1h'] td").nth(4).innerText();
  await page.waitForTimeout(1_000);
  expect(await page.locator("[data-window='1h'] td").nth(4).innerText()).toBe(before);
  await page.close();
});

test("Postgres away: the data is called stale and stays, in a node that is never replaced", async () => {
  api.state.overview = overview(20);
  const { page, close } = await open(browser, api.base);
  await page.waitForSelector(".uplot canvas");
  const line = await page.$("#line");
  api.state.overview = null;
  await page.getByRole("status").filter({ hasText: /Stale: data from \d\d:\d\d:\d\d/ }).waitFor({ timeout: 25_000 });
  expect(await page.locator("[data-window]").count()).toBe(5);
  expect(await violations(page)).toEqual([]);
  expect(await page.evaluate((node) => node === document.getElementById("line"), line)).toBe(true);
  await close();
});

test("our own network gone: the overview says why so much is unknown, and no more once it is back", async () => {
  const fine = overview(20);
  const health = { ...fine.health, workers_offline: 2, offline_since: new Date().toISOString() };
  api.state.overview = { ...fine, health };
  const { page, close } = await open(browser, api.base);
  const said = page.getByRole("status").filter({ hasText: "own network or name server is gone" });
  await said.waitFor();
  expect(await said.textContent()).toContain("unknown, not down");
  expect(await violations(page)).toEqual([]);
  api.state.overview = fine;
  await said.waitFor({ state: "detached", timeout: 25_000 });
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
