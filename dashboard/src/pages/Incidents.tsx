/** When services left their objectives. */

import { createMemo, For, Show, type JSX } from "solid-js";
import { cursorPath, Older, Table } from "../components/lists";
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
  const asked = polled<{ incidents: Incident[]; next: string | null }>(createMemo(() => cursorPath("incidents", ["open"])));
  /** An old one that is still open is on no first page of all of them, so these are asked for by themselves. */
  const open = polled<{ incidents: Incident[] }>(
    createMemo(() => (query("open") === "" && query("cursor") === "" ? "/api/v1/incidents?open=true&limit=500" : null)),
  );
  /** Those that are open stand first, each part with the newest first. */
  const shown = createMemo(() => {
    const all = asked.data()?.incidents ?? [];
    const known = new Set(all.map((one) => one.id));
    const older = (open.data()?.incidents ?? []).filter((one) => !known.has(one.id));
    return [...all.filter((one) => one.ended_at === null), ...older, ...all.filter((one) => one.ended_at !== null)];
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
          <section class="card" aria-label="What was broken">
            <Table label="Incidents" columns={["incident", "state", "began", "lasted", "objective", "broken by", "fixed by"]}>
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
            </Table>
          </section>
        </Show>
        <Older next={asked.data()?.next ?? null} />
      </Show>
    </>
  );
}
