/** A Chromium of the system, and what every test asks of a page. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium, type Browser, type Page } from "playwright-core";

export type Scheme = "light" | "dark";

export const launch = (): Promise<Browser> =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    // In a container, and as root, Chromium cannot make a sandbox; the page is our own.
    args: process.getuid?.() === 0 ? ["--no-sandbox", "--disable-dev-shm-usage"] : [],
  });

export interface Opened {
  page: Page;
  /** Errors of the console: broken code, and what the content policy refused. */
  errors: string[];
  close: () => Promise<void>;
}

export async function open(browser: Browser, url: string, scheme: Scheme = "light", size = { width: 1366, height: 768 }): Promise<Opened> {
  const context = await browser.newContext({ colorScheme: scheme, viewport: size });
  const page = await context.newPage();
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => {
    const isOfTheNet = /WebSocket connection|Failed to load resource/.test(message.text());
    if (message.type() === "error" && !isOfTheNet) errors.push(message.text());
  });
  await page.goto(url);
  return { page, errors, close: () => context.close() };
}

/** Watches from now on; what it returns says how far things moved on the page, as browsers count it. */
export async function watchMoves(page: Page): Promise<() => Promise<number>> {
  await page.evaluate(() => {
    const seen = window as unknown as { moved: number };
    seen.moved = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries() as (PerformanceEntry & { value: number })[]) seen.moved += entry.value;
    }).observe({ type: "layout-shift" });
  });
  return () => page.evaluate(() => (window as unknown as { moved: number }).moved);
}

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What breaks WCAG 2.2 A or AA, as “rule: where”. */
export async function violations(page: Page): Promise<string[]> {
  // Through the debugger: the content policy lets no such code into the page.
  await page.evaluate(axe);
  return page.evaluate(async () => {
    const { axe } = window as unknown as { axe: { run: (where: Document, how: unknown) => Promise<{ violations: { id: string; nodes: { target: string[] }[] }[] }> } };
    const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
    const found = await axe.run(document, { runOnly: { type: "tag", values: tags } });
    return found.violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target.join(" ")).slice(0, 3).join(", ")}`);
  });
}
