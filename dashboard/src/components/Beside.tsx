/** The incidents and changes of a graph, in words and with links. */

import { For, Show, type JSX } from "solid-js";
import type { Glance } from "../model";
import { Moment } from "./small";

/** What is drawn as spans and marks, in words and with links. */
export const Beside = (props: { data: Glance }): JSX.Element => (
  <Show when={props.data.changes.length > 0 || props.data.incidents.length > 0}>
    <ul class="beside">
      <For each={props.data.incidents.slice(0, 3)}>
        {(incident) => (
          <li>
            <span class="state down" aria-hidden="true">
              ▬
            </span>{" "}
            <a href={`/incidents/${incident.id}`}>{incident.resource}</a>{" "}
            {incident.ended_at === null ? "open since " : "was broken "}
            <Moment at={incident.started_at} />
          </li>
        )}
      </For>
      <For each={props.data.changes.slice(0, 3)}>
        {(change) => (
          <li>
            <span class="change" aria-hidden="true">
              ◆
            </span>{" "}
            {change.service} <code>{change.commit.slice(0, 12)}</code> <Moment at={change.at} />
          </li>
        )}
      </For>
    </ul>
  </Show>
);
