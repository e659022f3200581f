/** Where the reader is, by the History API: a path and its query. */

import { createSignal } from "solid-js";

const here = (): URL => new URL(location.href);
const [url, setUrl] = createSignal(here());

export const path = (): string => url().pathname;
export const query = (name: string): string => url().searchParams.get(name) ?? "";

addEventListener("popstate", () => setUrl(here()));

export function go(href: string): void {
  const before = location.pathname;
  history.pushState(null, "", href);
  setUrl(here());
  if (location.pathname !== before) {
    scrollTo(0, 0);
    // Readers of screens hear where they are; the focus would otherwise stay on what is gone.
    requestAnimationFrame(() => document.querySelector<HTMLElement>("main h1")?.focus());
  }
}

/** Changes the query where the reader stays: no entry of its own in the history. */
export function refine(changes: Record<string, string>): void {
  const next = here();
  for (const [name, value] of Object.entries(changes)) {
    if (value === "") next.searchParams.delete(name);
    else next.searchParams.set(name, value);
  }
  history.replaceState(null, "", next);
  setUrl(next);
}

/** Follows links to pages without loading them anew; leaves all other clicks alone. */
export function follow(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
  const link = (event.target as Element).closest("a");
  if (!link || link.target !== "" || link.origin !== location.origin || link.hasAttribute("data-out")) return;
  event.preventDefault();
  go(link.href);
}

export const targetPath = (key: string): string => `/targets/${encodeURIComponent(key)}`;
