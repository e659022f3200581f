/** One incident as it went: the first failure, the changes near it, and what restored the service. */

import { createMemo, For, Show, type JSX } from "solid-js";
import { Moment, State, Title, Waiting } from "../components/small";
import { duration, percent, milliseconds } from "../format";
import type { IncidentDetail } from "../model";
import { polled } from "../polled";
import { targetPath } from "../router";
import { timeline } from "../timeline";
import { Length } from "./Incidents";

export function Incident(props: { id: string }): JSX.Element {
  const asked = polled<IncidentDetail>(() => `/api/v1/incidents/${encodeURIComponent(props.id)}`);
  return (
    <Show
      when={asked.data()}
      fallback={
        <>
          <Title>Incident {props.id}</Title>
          <Waiting for="the incident" problem={asked.problem()} retry={asked.refresh} />
          <p>
            <a href="/incidents">All incidents</a>
          </p>
        </>
      }
    >
      {(incident) => <Detail data={incident()} />}
    </Show>
  );
}

function Detail(props: { data: IncidentDetail }): JSX.Element {
  const isOpen = (): boolean => props.data.ended_at === null;
  const entries = createMemo(() => timeline(props.data));
  return (
    <>
      <div class={`sentence ${isOpen() ? "down" : "up"}`}>
        <Title>
          {props.data.service === props.data.resource ? props.data.service : `${props.data.service}: ${props.data.verb} ${props.data.resource}`}
        </Title>
        <p>
          <State is={isOpen() ? "down" : "up"} words={isOpen() ? "open" : "over"} /> · began <Moment at={props.data.started_at} /> ·{" "}
          {isOpen() ? "for" : "lasted"} <Length of={props.data} />
        </p>
        <p class="dim">
          Objective {percent(props.data.objective * 100)} good over {duration(props.data.window_seconds)}
          <Show when={props.data.target}>
            {(key) => (
              <>
                {" "}
                · <a href={targetPath(key())}>the target</a>
              </>
            )}
          </Show>
        </p>
      </div>
      <dl class="figures commits">
        <div class="figure">
          <dt>broken by</dt>
          <dd>{props.data.break ? <code>{props.data.break.commit}</code> : "no change is known before it"}</dd>
        </div>
        <div class="figure">
          <dt>fixed by</dt>
          <dd>
            <Show when={props.data.fix} fallback={isOpen() ? "still open" : "no change is known before its end"}>
              {(fix) => (
                <>
                  <code>{fix().commit}</code>
                  <Show when={fix().commit === props.data.break?.commit}>
                    <p class="dim">the same: nothing else was changed before it recovered</p>
                  </Show>
                </>
              )}
            </Show>
          </dd>
        </div>
      </dl>
      <section class="card" aria-labelledby="timeline">
        <h2 id="timeline">Timeline</h2>
        <ol class="timeline">
          <For each={entries()}>
            {(entry) => (
              <li>
                <span class={`state ${entry.kind}`} aria-hidden="true">
                  {entry.mark}
                </span>
                <Moment at={entry.at} ago={false} />
                <span>{entry.text}</span>
              </li>
            )}
          </For>
        </ol>
      </section>
      <section class="card" aria-label="Failures">
        <div class="scroll" tabindex="0" role="region" aria-label="Failures around the beginning">
          <table class="numbers">
            <caption>Failures around its beginning, at most 50</caption>
            <thead>
              <tr>
                <th scope="col">at</th>
                <th scope="col">cause</th>
                <th scope="col">code</th>
                <th scope="col">elapsed</th>
              </tr>
            </thead>
            <tbody>
              <For each={props.data.failures}>
                {(failure) => (
                  <tr>
                    <th scope="row">
                      <Moment at={failure.at} ago={false} />
                    </th>
                    <td>{failure.detail ?? failure.cause ?? "–"}</td>
                    <td>{failure.code ?? "–"}</td>
                    <td>{milliseconds(failure.elapsed_ms)}</td>
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
