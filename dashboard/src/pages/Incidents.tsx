/** When services left their objectives. */

import { createMemo, For, Show, type JSX } from "solid-js";
import { Moment, State, Title, Waiting } from "../components/small";
import { duration, percent } from "../format";
import type { Incident } from "../model";
import { polled } from "../polled";
import { query, refine } from "../router";
import { now } from "../state";

export const Length = (props: { of: Incident }): JSX.Element => (
  <>{duration(props.of.duration_seconds ?? (now() - Date.parse(props.of.started_at)) / 1000)}</>
);

export function Incidents(): JSX.Element {
  const path = createMemo(() => {
    const open = query("open") === "" ? "" : `&open=${encodeURIComponent(query("open"))}`;
    const cursor = query("cursor") === "" ? "" : `&cursor=${encodeURIComponent(query("cursor"))}`;
    return `/api/v1/incidents?limit=50${open}${cursor}`;
  });
  const asked = polled<{ incidents: Incident[]; next: string | null }>(path);
  /** Those that are open stand first, each part with the newest first. */
  const shown = createMemo(() => {
    const all = asked.data()?.incidents ?? [];
    return [...all.filter((one) => one.ended_at === null), ...all.filter((one) => one.ended_at !== null)];
  });
  return (
    <>
      <Title>Incidents</Title>
      <form class="filters" onSubmit={(event) => event.preventDefault()}>
        <label>
          Show
          <select value={query("open")} onChange={(event) => refine({ open: event.currentTarget.value, cursor: "" })}>
            <option value="">all</option>
            <option value="true">open</option>
            <option value="false">over</option>
          </select>
        </label>
      </form>
      <Show when={asked.data()} fallback={<Waiting for="incidents" problem={asked.problem()} retry={asked.refresh} />}>
        <Show
          when={shown().length > 0}
          fallback={<p class="note">None. An incident opens when an endpoint falls below its objective.</p>}
        >
          <div class="card scroll" tabindex="0" role="region" aria-label="Incidents">
            <table class="targets">
              <thead>
                <tr>
                  <th scope="col">incident</th>
                  <th scope="col">state</th>
                  <th scope="col">began</th>
                  <th scope="col">lasted</th>
                  <th scope="col">objective</th>
                  <th scope="col">broken by</th>
                  <th scope="col">fixed by</th>
                </tr>
              </thead>
              <tbody>
                <For each={shown()}>
                  {(incident) => (
                    <tr>
                      <th scope="row">
                        <a href={`/incidents/${incident.id}`}>
                          {incident.service === incident.resource ? incident.service : `${incident.service}: ${incident.verb} ${incident.resource}`}
                        </a>
                      </th>
                      <td>
                        <State is={incident.ended_at === null ? "down" : "up"} words={incident.ended_at === null ? "open" : "over"} />
                      </td>
                      <td>
                        <Moment at={incident.started_at} ago={false} />
                      </td>
                      <td>
                        <Length of={incident} />
                      </td>
                      <td>{percent(incident.objective * 100)}</td>
                      <td>{incident.break ? <code>{incident.break.commit.slice(0, 12)}</code> : "–"}</td>
                      <td>{incident.fix ? <code>{incident.fix.commit.slice(0, 12)}</code> : "–"}</td>
                    </tr>
                  )}
                </For>
              </tbody>
            </table>
          </div>
        </Show>
        <nav class="pages" aria-label="Parts of the list">
          <Show when={query("cursor") !== ""}>
            <button type="button" onClick={() => refine({ cursor: "" })}>
              Newest
            </button>
          </Show>
          <Show when={asked.data()?.next}>
            {(next) => (
              <button type="button" onClick={() => refine({ cursor: next() })}>
                Older
              </button>
            )}
          </Show>
        </nav>
      </Show>
    </>
  );
}
