/** The dashboard of a real lookout that watches the fault server. */

import { spawn, type ChildProcess } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Summary } from "../../src/model";
import { columns, type Columns } from "../../src/format";
import { launch, open, violations, watchMoves } from "./browser";

const lookout = process.env.LOOKOUT ?? join(import.meta.dirname, "../../../target/debug/lookout");
/** Postgres runs as another user when we are root, and wants to reach its directory. */
const data = mkdtempSync(join(tmpdir(), "lookout-e2e-"));
chmodSync(data, 0o755);
let browser: Browser;
let faults: ChildProcess;
let up: ChildProcess;
let base: string;
let watched: string;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as { port: number };
  await new Promise((closed) => server.close(closed));
  return port;
}

const start = (args: string[], variables: Record<string, string> = {}): ChildProcess =>
  spawn(lookout, args, { env: { ...process.env, ...variables }, stdio: "ignore" });

function startLookout(): ChildProcess {
  return start([], {
    URLS: [`${watched}/ok`, `${watched}/flaky/25`, `${watched}/status/503`, `${watched}/status/404`].join(" "),
    POLLING_INTERVAL: "1s",
    API_ADDR: base.replace("http://", ""),
    LOOKOUT_DATA_DIR: join(data, "data"),
    DATABASE_URL: "",
  });
}

async function answers(url: string): Promise<void> {
  for (let tries = 0; tries < 300; tries += 1) {
    if ((await fetch(url).catch(() => null))?.ok) return;
    await new Promise((later) => setTimeout(later, 100));
  }
  throw new Error(`${url} does not answer`);
}

async function stop(child: ChildProcess, signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const over = new Promise((exited) => child.once("exit", exited));
  child.kill(signal);
  await over;
}

beforeAll(async () => {
  const port = await freePort();
  watched = `http://127.0.0.1:${port}`;
  base = `http://127.0.0.1:${await freePort()}`;
  faults = start(["demo", "faults", "--port", String(port)]);
  await answers(`${watched}/ok`);
  up = startLookout();
  browser = await launch();
  await answers(`${base}/readyz`);
  await answers(`${base}/api/v1/overview`);
});
afterAll(async () => {
  await browser?.close();
  await stop(up);
  await stop(faults);
  rmSync(data, { recursive: true, force: true });
});

const total = async (page: Page): Promise<number> =>
  Number((await page.locator("[data-window='1h'] td").nth(4).innerText()).replaceAll(",", ""));

async function grows(page: Page, from: number, within = 15_000): Promise<void> {
  await expect.poll(() => total(page), { timeout: within, interval: 200 }).toBeGreaterThan(from);
}

test("where no socket is to be had the numbers move by polling", async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.routeWebSocket(/live/, (socket) => void socket.close());
  await page.goto(base);
  await expect.poll(() => page.locator("#line").innerText(), { timeout: 10_000 }).toBe("Polling every 10 s");
  await page.waitForSelector(".windows");
  await grows(page, await total(page), 25_000);
  await context.close();
});

test("paused, the page stands still; then it has caught up", async () => {
  const { page, close } = await open(browser, base);
  await page.waitForSelector(".windows");
  await page.getByRole("button", { name: "Pause" }).click();
  const before = await total(page);
  await new Promise((later) => setTimeout(later, 2_500));
  expect(await total(page)).toBe(before);
  expect(await page.locator("#line").innerText()).toMatch(/^Paused at/);
  await page.getByRole("button", { name: "Go on" }).click();
  await grows(page, before, 5_000);
  await close();
});

test("every page opens, has a heading, and has nothing that axe finds", async () => {
  const key = encodeURIComponent(`${watched}/status/503`);
  const list = (await (await fetch(`${base}/api/v1/incidents`)).json()) as { incidents: { id: number }[] };
  const incident = list.incidents[0]?.id;
  expect(incident).toBeDefined();
  for (const path of ["/targets", `/targets/${key}`, "/incidents", `/incidents/${incident}`, "/changes", "/system"]) {
    const { page, errors, close } = await open(browser, base + path, "dark");
    await page.locator(".card").first().waitFor();
    expect(await page.locator("h1").count(), path).toBe(1);
    expect(await violations(page), path).toEqual([]);
    expect(errors, path).toEqual([]);
    await close();
  }
});

/** Not before every target had its first incident: the list of what needs attention is complete then. */
test("numbers move without a reload, and nothing on the page does", async () => {
  const { page, errors, close } = await open(browser, base);
  await page.waitForSelector(".windows");
  const moved = await watchMoves(page);
  await expect.poll(() => page.locator("#line").innerText(), { timeout: 10_000 }).toBe("Live");
  await grows(page, await total(page));
  await grows(page, await total(page));
  expect(await moved()).toBeLessThanOrEqual(0.02);
  expect(await violations(page)).toEqual([]);
  expect(errors).toEqual([]);
  await close();
});

test("the api killed is said within five seconds; back, the numbers are right", async () => {
  const { page, close } = await open(browser, base);
  await page.waitForSelector(".windows");
  await expect.poll(() => page.locator("#line").innerText(), { timeout: 10_000 }).toBe("Live");
  const before = await total(page);
  await stop(up, "SIGKILL");
  await expect.poll(() => page.locator("#line").innerText(), { timeout: 5_000 }).toMatch(/Stale|Reconnecting|Polling/);
  await expect.poll(() => page.locator("#line").innerText(), { timeout: 15_000 }).toMatch(/Stale: data from/);
  expect(await total(page)).toBeGreaterThanOrEqual(before);
  up = startLookout();
  await answers(`${base}/readyz`);
  await grows(page, before, 35_000);
  await close();
});

/** Last: without the fault server nothing is answered any more, so all but “no response” stands still. */
test("the table says what the summary says", async () => {
  const { page, close } = await open(browser, base);
  await page.waitForSelector(".windows");
  await stop(faults);
  const shown = (): Promise<string[]> => page.locator("[data-window='1h'] td").allInnerTexts();
  const numbers = async (): Promise<(number | string)[]> =>
    (await shown()).slice(0, 5).map((text) => Number(text.replace(/[^\d]/g, "")));
  const asked = async (): Promise<Columns> =>
    columns((await (await fetch(`${base}/api/v1/summary?window=1h`)).json()) as Summary);
  await expect
    .poll(
      async () => {
        const { c500, c200, other } = await asked();
        const [, n500, n200, nOther] = await numbers();
        return n500 === c500 && n200 === c200 && nOther === other;
      },
      { timeout: 25_000, interval: 500 },
    )
    .toBe(true);
  // The page's window is older than one answer and newer than another.
  await expect
    .poll(
      async () => {
        const before = await asked();
        await new Promise((later) => setTimeout(later, 11_000));
        const [noResponse, , , , all] = (await numbers()) as [number, number, number, number, number];
        const after = await asked();
        return (
          before.noResponse <= noResponse && noResponse <= after.noResponse && before.total <= all && all <= after.total
        );
      },
      { timeout: 30_000 },
    )
    .toBe(true);
  await close();
});
