/** An answer that is asked for again every ten seconds while somebody looks. */

import { createEffect, createSignal, on, onCleanup, type Accessor } from "solid-js";
import { get, token } from "./api";
import { Problem } from "./live";
import { isPaused } from "./state";

const EVERY_MS = 10_000;

export interface Asked<T> {
  data: Accessor<T | null>;
  problem: Accessor<Problem | null>;
  refresh: () => void;
}

/** A new path is asked for at once; until then nothing of the one before is shown. A null path asks for nothing. */
export function polled<T>(path: Accessor<string | null>, every = EVERY_MS): Asked<T> {
  const [data, setData] = createSignal<T | null>(null);
  const [problem, setProblem] = createSignal<Problem | null>(null);
  let asked = 0;
  let etag: string | null = null;
  const ask = async (): Promise<void> => {
    const wanted = path();
    if (wanted === null) return;
    const mine = ++asked;
    try {
      const answer = await get(wanted, etag);
      if (mine !== asked) return;
      etag = answer.etag;
      if (answer.data !== null) setData(() => answer.data as T);
      setProblem(null);
    } catch (error) {
      if (mine === asked) setProblem(error instanceof Problem ? error : new Problem(0, "No answer", String(error)));
    }
  };
  createEffect(
    on([path, token], () => {
      asked += 1;
      etag = null;
      setData(null);
      setProblem(null);
      void ask();
    }),
  );
  const timer = setInterval(() => {
    if (!document.hidden && !isPaused()) void ask();
  }, every);
  onCleanup(() => clearInterval(timer));
  return { data, problem, refresh: () => void ask() };
}
