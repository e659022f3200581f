/** One target: its state since when, how it did, and its newest checks. */

import { createMemo, For, Show, type JSX } from "solid-js";
import { Checks, Elapsed } from "../components/Checks";
import { DayStrip } from "../components/DayStrip";
import { FailureGraph } from "../components/FailureGraph";
import { Latency } from "../components/Latency";
import { Age, Moment, State, Title, Waiting } from "../components/small";
import { WindowTable } from "../components/WindowTable";
import { clock, period } from "../format";
import type { Change, Incident, TargetDetail } from "../model";
import { polled } from "../polled";
import { shown } from "../ranges";
import { query } from "../router";
import { now, problem, target } from "../state";

export function Target(props: { key: string }): JSX.Element {
  return (
    <Show
      when={target.now?.key === props.key ? target.now : null}
      fallback={
        <>
          <Title>{props.key}</Title>
          <Waiting for="the target" problem={problem()} />
          <p>
            <a href="/targets">All targets</a>
          </p>
        </>
      }
    >
      {(detail) => <Detail data={detail()} />}
    </Show>
  );
}

function Detail(props: { data: TargetDetail }): JSX.Element {
  /** As far back as the graph shows. */
  const from = createMemo(() => new Date(Date.now() - shown(query).rangeSeconds * 1000).toISOString());
  const service = createMemo(() => encodeURIComponent(props.data.key));
  const incidents = polled<{ incidents: Incident[] }>(() => `/api/v1/incidents?service=${service()}&limit=20`);
  const changes = polled<{ changes: Change[] }>(() => `/api/v1/changes?service=${service()}&from=${from()}&limit=20`);
  const mine = createMemo(() => incidents.data()?.incidents ?? []);
  return (
    <>
      <div class={`sentence ${props.data.state}`}>
        <Title>{props.data.name}</Title>
        <p>
          <State is={props.data.state} />
          <Show when={props.data.since}>
            {(since) => (
              <>
                {" "}
                since <Moment at={since()} />
              </>
            )}
          </Show>
          <Show when={props.data.last_check} fallback=" · no check with a verdict yet">
            {(last) => (
              <>
                {" "}
                · last check <Age at={last().timestamp} /> ago
              </>
            )}
          </Show>
        </p>
        <p class="dim">
          <code>
            {props.data.method} {props.data.url}
          </code>{" "}
          every {period(props.data.interval_ms)}, at most {period(props.data.timeout_ms)}, degraded after {period(props.data.degraded_ms)}
          <For each={Object.entries(props.data.labels)}>
            {([name, value]) => (
              <span class="label">
                {name}: {value}
              </span>
            )}
          </For>
        </p>
      </div>
      <div class="columns">
        <div class="column">
          <section class="card" aria-label="Windows">
            <WindowTable windows={props.data.windows} of={props.data.name} />
          </section>
          <Show when={mine().length > 0}>
            <section class="card" aria-labelledby="its-incidents">
              <h2 id="its-incidents">Incidents</h2>
              <ul class="beside">
                <For each={mine().slice(0, 5)}>
                  {(incident) => (
                    <li>
                      <a href={`/incidents/${incident.id}`}>
                        {incident.ended_at === null ? "open since" : "from"} {clock(new Date(incident.started_at), new Date(now()))}
                      </a>
                      {incident.break ? ` · after ${incident.break.commit.slice(0, 12)}` : ""}
                    </li>
                  )}
                </For>
              </ul>
            </section>
          </Show>
        </div>
        <div class="column">
          <section class="card" aria-label="Failures over time">
            <FailureGraph
              target={props.data.key}
              least={props.data.interval_ms / 1000}
              incidents={mine()}
              changes={changes.data()?.changes ?? []}
            />
          </section>
        </div>
      </div>
      <DayStrip target={props.data.key} />
      <div class="columns">
        <Latency target={props.data.key} />
        <Elapsed checks={props.data.last_checks} />
      </div>
      <Checks checks={props.data.last_checks} />
    </>
  );
}
