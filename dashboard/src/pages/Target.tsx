/** One target: its state since when, how it did, and its newest checks. */

import { createMemo, For, Show, type JSX } from "solid-js";
import { FailureGraph } from "../components/FailureGraph";
import { Graph } from "../components/Graph";
import { Age, Figure, Moment, State, Title, Waiting } from "../components/small";
import { WindowTable } from "../components/WindowTable";
import { clock, milliseconds, period, quantile, utc } from "../format";
import type { Change, Check, Incident, TargetDetail } from "../model";
import { polled } from "../polled";
import { seconds, type Points } from "../series";
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
  const hourAgo = new Date(Date.now() - 3_600_000).toISOString();
  const service = createMemo(() => encodeURIComponent(props.data.key));
  const incidents = polled<{ incidents: Incident[] }>(() => `/api/v1/incidents?service=${service()}&limit=20`);
  const changes = polled<{ changes: Change[] }>(() => `/api/v1/changes?service=${service()}&from=${hourAgo}&limit=20`);
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
            <FailureGraph target={props.data.key} incidents={mine()} changes={changes.data()?.changes ?? []} />
          </section>
        </div>
      </div>
      <Checks checks={props.data.last_checks} />
    </>
  );
}

function Checks(props: { checks: Check[] }): JSX.Element {
  const elapsed = createMemo(() => props.checks.flatMap((check) => (check.elapsed_ms === null ? [] : [check.elapsed_ms])));
  const points = createMemo((): Points => {
    const inOrder = [...props.checks].reverse();
    const times = inOrder.map((check) => seconds(check.timestamp));
    return { times, failed: inOrder.map((check) => check.elapsed_ms), coverage: [], step: 0 };
  });
  return (
    <>
      <section class="card" aria-label="Latency">
        <dl class="figures">
          <Figure name="p50" value={milliseconds(quantile(elapsed(), 0.5))} hint={`Of the last ${elapsed().length} checks`} />
          <Figure name="p95" value={milliseconds(quantile(elapsed(), 0.95))} hint={`Of the last ${elapsed().length} checks`} />
          <Figure name="slowest" value={milliseconds(quantile(elapsed(), 1))} />
        </dl>
        <Show when={points().times.length > 1}>
          <Graph
            title={`Elapsed, last ${points().times.length} checks`}
            points={points()}
            from={points().times[0] ?? 0}
            to={points().times[points().times.length - 1] ?? 1}
            incidents={[]}
            changes={[]}
            unit="ms"
          />
        </Show>
      </section>
      <section class="card" aria-label="Checks">
        <div class="scroll" tabindex="0" role="region" aria-label="The last checks">
          <table class="numbers checks">
            <caption>The last {props.checks.length} checks, the newest first</caption>
            <thead>
              <tr>
                <th scope="col">started</th>
                <th scope="col">outcome</th>
                <th scope="col">code</th>
                <th scope="col">elapsed</th>
                <th scope="col">dns</th>
                <th scope="col">connect</th>
                <th scope="col">first byte</th>
              </tr>
            </thead>
            <tbody>
              <For each={props.checks}>
                {(check) => (
                  <tr>
                    <th scope="row">
                      <time datetime={check.timestamp} title={utc(new Date(check.timestamp))}>
                        {clock(new Date(check.timestamp), new Date(now()))}
                      </time>
                    </th>
                    <td>
                      <State is={check.outcome} words={check.cause === null ? check.outcome : `${check.outcome}: ${check.cause}`} />
                    </td>
                    <td>{check.code ?? "–"}</td>
                    <td>{milliseconds(check.elapsed_ms)}</td>
                    <td>{milliseconds(check.phases?.dns_ms ?? null)}</td>
                    <td>{milliseconds(check.phases?.connect_ms ?? null)}</td>
                    <td>{milliseconds(check.phases?.first_byte_ms ?? null)}</td>
                  </tr>
                )}
              </For>
            </tbody>
          </table>
        </div>
      </section>
    </>
  );
}
