/** What the graph of failures shows: how long the window is that rolls, and over how long. Both are in the address. */

import { duration } from "./format";

/** The rows of the window table: for each its length, and over how long it is looked at unless somebody says otherwise. */
const WINDOWS: Record<string, { seconds: number; range: string }> = {
  "1m": { seconds: 60, range: "15m" },
  "5m": { seconds: 300, range: "1h" },
  "15m": { seconds: 900, range: "6h" },
  "1h": { seconds: 3600, range: "24h" },
  "24h": { seconds: 86_400, range: "7d" },
};

export const RANGES: Record<string, { seconds: number; name: string }> = {
  "15m": { seconds: 900, name: "15 min" },
  "1h": { seconds: 3600, name: "1 h" },
  "6h": { seconds: 6 * 3600, name: "6 h" },
  "24h": { seconds: 86_400, name: "24 h" },
  "7d": { seconds: 7 * 86_400, name: "7 d" },
  "30d": { seconds: 30 * 86_400, name: "30 d" },
};

/** A range as the api takes it, which knows no days. */
export const inUnits = (range: string): string => `${RANGES[range]?.seconds ?? 3600}s`;

export interface Shown {
  window: string;
  range: string;
  windowSeconds: number;
  rangeSeconds: number;
  /** What to ask for: the first window is to be a whole one. */
  asked: string;
}

export function shown(read: (name: string) => string): Shown {
  const window = Object.hasOwn(WINDOWS, read("window")) ? read("window") : "5m";
  const { seconds, range: usual } = WINDOWS[window] as { seconds: number; range: string };
  const range = Object.hasOwn(RANGES, read("range")) ? read("range") : usual;
  const rangeSeconds = RANGES[range]?.seconds ?? 3600;
  return { window, range, windowSeconds: seconds, rangeSeconds, asked: `${seconds + rangeSeconds}s` };
}

/** What the address is to say: nothing of what is usual. */
export function chooseWindow(window: string): Record<string, string> {
  return { window: window === "5m" ? "" : window, range: "" };
}

export function chooseRange(range: string, { window }: Shown): Record<string, string> {
  return { range: WINDOWS[window]?.range === range ? "" : range };
}

/** A step may be longer than the window that was chosen; then that is what is drawn. */
export const title = (window: number, step: number, range: string): string =>
  `Failed in ${duration(Math.max(window, step))}, over ${RANGES[range]?.name ?? range}`;
