/** What the whole page shares: the live state, the clock, and what the reader has set. */

import { batch, createEffect, createMemo, createRoot, createSignal } from "solid-js";
import { createStore, reconcile } from "solid-js/store";
import { needsToken, poll, protocols, token } from "./api";
import { clock } from "./format";
import { Live, nameOf, type Mode, type Problem, type View } from "./live";
import type { Glance, Overview, RollingSeries, TablePage, TargetDetail, TargetRow } from "./model";

export const [overview, setOverview] = createStore<{ now: Glance | null }>({ now: null });
/** Its long lists, whole: what is watched item by item costs much more, and an item that is not sent stays the same one. */
export const [rows, setRows] = createSignal<TargetRow[] | null>(null);
export const [series, setSeries] = createSignal<RollingSeries | null>(null);
export const [target, setTarget] = createStore<{ now: TargetDetail | null }>({ now: null });
/** The page of the table that came last, and the name of the view it is of. */
export const [table, setTable] = createStore<{ now: TablePage | null; of: string }>({ now: null, of: "" });
export const [problem, setProblem] = createSignal<Problem | null>(null);
export const [mode, setMode] = createSignal<Mode>("connecting");
export const [isStale, setStale] = createSignal(false);
export const [isPaused, setPaused] = createSignal(false);

/** The moment for which what is on screen was true, and when we heard of it on a clock nobody sets. */
const [truth, setTruth] = createSignal({ at: Date.now(), heard: performance.now() });
const [tick, setTick] = createSignal(performance.now());

/** The server's present: our own clock may be wrong. It stands still while the page is paused. */
export const now = (): number => {
  const { at, heard } = truth();
  return isPaused() ? at : at + Math.max(0, tick() - heard);
};
export const asOf = (): number => truth().at;

const FRESH_MS = 10_000;
const FRESH_POLLED_MS = 25_000;

/** Nothing new for too long, whatever the line says. */
const isOld = (): boolean => {
  if ((overview.now ?? target.now ?? table.now) === null) return false;
  return tick() - truth().heard > (mode() === "live" ? FRESH_MS : FRESH_POLLED_MS);
};

export const banner = createRoot(() =>
  createMemo((): { kind: string; text: string } => {
    const line = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting", polling: "Polling every 10 s" };
    const data = overview.now ?? target.now ?? table.now;
    if (data !== null && (isStale() || isOld())) {
      const at = new Date(asOf());
      const more = mode() === "live" ? "" : ` · ${line[mode()]}`;
      return { kind: "stale", text: `Stale: data from ${clock(at, new Date())}${more}` };
    }
    if (isPaused()) return { kind: "paused", text: `Paused at ${clock(new Date(asOf()), new Date())}` };
    return { kind: mode(), text: line[mode()] };
  }),
);

let live: Live | null = null;
let view: View = { subscribe: "overview" };
/** What came while nobody looked or the page was paused: drawn when that is over. */
let undrawn: (() => void) | null = null;
/** What is on screen is of this view. Who pauses and then looks elsewhere still gets to see that, once. */
let drawn = "";

const mayPaint = (): boolean => !document.hidden && (!isPaused() || drawn !== nameOf(view));

export function resume(): void {
  const draw = undrawn;
  if (!mayPaint() || draw === null) return;
  undrawn = null;
  requestAnimationFrame(draw);
}

function take(of: View, data: Record<string, unknown>): void {
  drawn = nameOf(of);
  if (of.subscribe === "target") {
    const detail = data as unknown as TargetDetail;
    setTarget("now", reconcile(detail, { key: "name", merge: false }));
    const ends = detail.windows[0]?.to;
    setTruth({ at: ends === undefined ? Date.now() : Date.parse(ends), heard: performance.now() });
  } else if (of.subscribe === "table") {
    const page = data as unknown as TablePage;
    batch(() => {
      setTable("of", nameOf(of));
      setTable("now", reconcile(page, { key: "key", merge: false }));
    });
    setTruth({ at: Date.parse(page.as_of), heard: performance.now() });
  } else {
    const { targets, series: hour, ...glance } = data as unknown as Overview;
    batch(() => {
      setRows(targets);
      setSeries(hour);
      setOverview("now", reconcile<Glance, Glance | null>(glance, { key: "key", merge: false }));
    });
    setTruth({ at: Date.parse(glance.as_of), heard: performance.now() });
  }
  setTick(performance.now());
}

function connect(): void {
  live?.close();
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  live = new Live(
    {
      socket: () => new WebSocket(`${scheme}//${location.host}/api/v1/live`, protocols(token())),
      poll,
      onState: take,
      onMode: (next, stale) => {
        setMode(next);
        setStale(stale);
      },
      onProblem: setProblem,
      paint: (draw) => {
        if (mayPaint()) requestAnimationFrame(draw);
        else undrawn = draw;
      },
    },
    view,
  );
}

export function watch(next: View): void {
  view = next;
  if (next.subscribe === "target" && target.now?.key !== next.key) setTarget("now", null);
  // From one search to the next the rows stay until those that were found come.
  if (next.subscribe !== "table") setTable("now", null);
  live?.show(next);
  // A draw of the view before may have waited for the end of the pause.
  resume();
}

export function start(): void {
  createRoot(() => {
    createEffect(() => {
      token();
      if (!needsToken()) connect();
      else live?.close();
    });
    createEffect(() => {
      if (!isPaused()) resume();
    });
  });
  document.addEventListener("visibilitychange", resume);
  setInterval(() => {
    if (!document.hidden) setTick(performance.now());
  }, 1000);
}

export type Theme = "auto" | "light" | "dark";
const KEPT_AS = "lookout-theme";
export const [theme, setThemeSignal] = createSignal<Theme>((localStorage.getItem(KEPT_AS) as Theme | null) ?? "auto");

export function setTheme(next: Theme): void {
  setThemeSignal(next);
  localStorage.setItem(KEPT_AS, next);
  applyTheme();
}

export function applyTheme(): void {
  if (theme() === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme();
}

const KEYS_KEPT_AS = "lookout-keys";
/** Whether keys of one letter do something: who speaks to a computer may not want that. */
export const [hasKeys, setKeysSignal] = createSignal(localStorage.getItem(KEYS_KEPT_AS) !== "off");

export function setKeys(on: boolean): void {
  setKeysSignal(on);
  localStorage.setItem(KEYS_KEPT_AS, on ? "on" : "off");
}
