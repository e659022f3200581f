/** Workers whose own network or name server is gone. */

import type { Health, System } from "./model";

export interface OwnNetwork {
  words: string;
  since: string;
}

/** What the overview knows of it: how many, and since when the first of them. */
export function offline(health: Pick<Health, "workers_running" | "workers_offline" | "offline_since">): OwnNetwork | null {
  const { workers_running: all, workers_offline: gone, offline_since: since } = health;
  if (gone === 0 || since === null) return null;
  return { words: words(gone, all), since };
}

/** The same, of the workers themselves. One that has ended says nothing about now. */
export function offlineOf(workers: System["workers"]): OwnNetwork | null {
  const running = workers.filter(({ state }) => state === "running");
  const since = running.flatMap(({ offline_since }) => (offline_since === null ? [] : [offline_since]));
  if (since.length === 0) return null;
  return { words: words(since.length, running.length), since: since.reduce((a, b) => (a < b ? a : b)) };
}

const words = (gone: number, all: number): string =>
  gone < all
    ? `The network or name server of ${gone} of ${all} workers is gone.`
    : "lookout's own network or name server is gone.";
