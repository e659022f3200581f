/** How long answers took: p50 and p95 over time. */

import { createMemo, For, Show, type JSX } from "solid-js";
import { milliseconds } from "../format";
import type { Latency as Data } from "../model";
import { polled } from "../polled";
import { inUnits, RANGES } from "../ranges";
import { query, refine } from "../router";
import { ofLatency, seconds } from "../series";
import { now } from "../state";
import { Graph } from "./Graph";
import { Figure, Waiting } from "./small";

const WINDOWS = ["1h", "24h", "7d", "30d"];

export function Latency(props: { target: string }): JSX.Element {
  const chosen = (): string => (WINDOWS.includes(query("latency")) ? query("latency") : "24h");
  const length = (): number => RANGES[chosen()]?.seconds ?? 86_400;
  const asked = polled<Data>(
    createMemo(() => `/api/v1/targets/${encodeURIComponent(props.target)}/latency?window=${inUnits(chosen())}`),
    30_000,
  );
  const points = createMemo(() => {
    const answer = asked.data();
    return answer === null ? null : ofLatency(answer);
  });
  const to = createMemo(() => {
    const answer = asked.data();
    return answer === null ? now() / 1000 : seconds(answer.window.to);
  });
  const of = (value: number | null | undefined): string => (asked.data() === null ? "…" : milliseconds(value ?? null));
  return (
    <section class="card" aria-label="Latency">
      <Graph
        title={`Elapsed, over ${RANGES[chosen()]?.name ?? ""}`}
        points={points()}
        from={to() - length()}
        to={to()}
        incidents={[]}
        changes={[]}
        unit="ms"
      >
        <For each={WINDOWS}>
          {(window) => (
            <button
              type="button"
              aria-pressed={chosen() === window}
              onClick={() => refine({ latency: window === "24h" ? "" : window })}
            >
              {RANGES[window]?.name}
            </button>
          )}
        </For>
      </Graph>
      <Show when={asked.problem()}>{(problem) => <Waiting for="the latency" problem={problem()} retry={asked.refresh} />}</Show>
      <dl class="figures">
        <Figure name="p50" value={of(asked.data()?.p50_ms_all)} hint="Half of all answers in this time came within" />
        <Figure name="p95" value={of(asked.data()?.p95_ms_all)} hint="95 of 100 answers in this time came within" />
        <Figure name="slowest" value={of(asked.data()?.max_ms)} />
      </dl>
    </section>
  );
}
