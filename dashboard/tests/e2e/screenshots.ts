/**
 * Pictures of every page, to be looked at: `npm run screenshots`. They go to `.screenshots`, where
 * `contact-….png` shows many at a time. `BASE` names a lookout to take them of instead of made-up data, `ONLY` some of them.
 */

import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, test } from "vitest";
import { launch, type Scheme } from "./browser";
import { overview } from "./data";
import { mock, push, type Mock } from "./mock";

const into = join(import.meta.dirname, "../../.screenshots");
const base = process.env.BASE;
const only = new RegExp(process.env.ONLY ?? "");
const WIDTHS = { 390: 844, 768: 1024, 1366: 768, 2560: 1440 };
const SCHEMES: Scheme[] = ["light", "dark"];

interface Shot {
  name: string;
  targets: number;
  path: string;
  /** What is done before the picture. */
  act?: (page: Page) => Promise<void>;
}

const isDrawn = async (page: Page): Promise<void> => {
  await page.locator(".uplot canvas").first().waitFor({ timeout: 15_000 });
};
const hasMap = async (page: Page): Promise<void> => {
  await page.locator(".map").focus();
  await page.getByRole("button", { name: "Next degraded or down" }).click();
  await page.locator(".map-says a").waitFor();
};
const SHOTS: Shot[] = [
  ...[0, 1, 20, 500, 50_000].map((targets) => ({ name: `overview-${targets}`, targets, path: "/", ...(targets > 0 ? { act: isDrawn } : {}) })),
  { name: "overview-50000-map", targets: 50_000, path: "/?map=1", act: hasMap },
  { name: "targets-0", targets: 0, path: "/targets" },
  { name: "targets-500", targets: 500, path: "/targets?sort=state" },
  { name: "targets-50000-map", targets: 50_000, path: "/targets?map=1&q=cart&label=team:shop", act: hasMap },
  { name: "target", targets: 500, path: "/targets/target-00003?window=1h", act: isDrawn },
  { name: "target-table", targets: 500, path: "/targets/target-00004", act: async (page) => {
    await isDrawn(page);
    for (const button of await page.getByRole("button", { name: "View as table" }).all()) await button.click();
    await page.locator(".day").last().focus();
    await page.keyboard.press("PageUp");
  } },
  { name: "incidents", targets: 20, path: "/incidents" },
  { name: "incident-open", targets: 20, path: "/incidents/7" },
  { name: "changes", targets: 20, path: "/changes" },
  { name: "system", targets: 20, path: "/system" },
];

let browser: Browser;
let api: Mock;
beforeAll(async () => {
  rmSync(into, { recursive: true, force: true });
  mkdirSync(into, { recursive: true });
  browser = await launch();
  api = await mock(overview(1));
});
afterAll(async () => {
  await browser.close();
  await api.close();
});

async function take(shot: Shot, width: number, height: number, scheme: Scheme): Promise<string> {
  api.state.overview = overview(shot.targets);
  const context = await browser.newContext({ colorScheme: scheme, viewport: { width, height }, reducedMotion: "reduce" });
  const page = await context.newPage();
  if (base === undefined) await push(page, shot.targets);
  await page.goto((base ?? api.base) + shot.path);
  await page.locator(".card, .note:not(.loading)").first().waitFor();
  await shot.act?.(page);
  await page.waitForTimeout(500);
  const file = join(into, `${shot.name}-${width}-${scheme}.png`);
  await page.screenshot({ path: file, fullPage: true });
  await context.close();
  return file;
}

/** Many on one picture, each no higher than wide. */
async function contact(name: string, files: string[]): Promise<void> {
  const page = await browser.newPage({ viewport: { width: 1800, height: 1000 } });
  const shown = files.map((file) => `<figure><img src="data:image/png;base64,${readFileSync(file).toString("base64")}"><figcaption>${file.split("/").pop()}</figcaption></figure>`);
  await page.setContent(
    `<style>body{display:flex;flex-wrap:wrap;gap:12px;background:#888;font:12px sans-serif}figure{margin:0}img{max-width:430px;max-height:640px;border:1px solid}</style>${shown.join("")}`,
  );
  writeFileSync(join(into, `contact-${name}.png`), await page.screenshot({ fullPage: true }));
  await page.close();
}

for (const shot of SHOTS.filter(({ name }) => only.test(name))) {
  test(shot.name, { timeout: 180_000 }, async () => {
    const files: string[] = [];
    for (const scheme of SCHEMES) {
      for (const [width, height] of Object.entries(WIDTHS)) files.push(await take(shot, Number(width), height, scheme));
    }
    await contact(shot.name, files);
  });
}

/** Postgres goes away while somebody looks. */
test.runIf(base === undefined && only.test("stale"))("stale", { timeout: 180_000 }, async () => {
  const pages: Page[] = [];
  for (const scheme of SCHEMES) {
    for (const [width, height] of Object.entries(WIDTHS)) {
      api.state.overview = overview(20);
      const page = await browser.newPage({ colorScheme: scheme, viewport: { width: Number(width), height } });
      await page.goto(api.base);
      await isDrawn(page);
      pages.push(page);
    }
  }
  api.state.overview = null;
  const files: string[] = [];
  for (const [i, page] of pages.entries()) {
    await page.getByRole("status").filter({ hasText: /Stale/ }).waitFor({ timeout: 30_000 });
    const file = join(into, `stale-${i}.png`);
    await page.screenshot({ path: file, fullPage: true });
    files.push(file);
    await page.close();
  }
  await contact("stale", files);
});
