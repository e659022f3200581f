/** How many are up and how many are not, and how old the oldest of that is. */

import { For, Show, type JSX } from "solid-js";
import { count, duration } from "../format";
import type { Glance } from "../model";
import { now, rows } from "../state";
import { State, Title } from "./small";

const STATES = ["up", "degraded", "down", "unknown"] as const;

export function Sentence(props: { data: Glance }): JSX.Element {
  const worst = (): string => {
    const { down, degraded, unknown } = props.data.counts;
    return down > 0 ? "down" : degraded > 0 ? "degraded" : unknown > 0 ? "unknown" : "up";
  };
  /** The newest verdict of the target that has waited longest for one; of all, where rows are not sent. */
  const oldest = (): { words: string; at: string | null } => {
    const moments = rows()?.flatMap((target) => (target.checked_at === null ? [] : [target.checked_at]));
    if (!moments || moments.length === 0) return { words: "newest check", at: props.data.newest_check };
    return { words: "oldest data", at: moments.reduce((a, b) => (a < b ? a : b)) };
  };
  const age = (): string => {
    const at = oldest().at;
    return at === null ? "no check yet" : `${oldest().words} ${duration((now() - Date.parse(at)) / 1000)}`;
  };
  return (
    <div class={`sentence ${worst()}`}>
      <Title>
        <For each={STATES.filter((state) => props.data.counts[state] > 0)}>
          {(state, i) => (
            <>
              {i() > 0 ? ", " : ""}
              <State is={state} words={`${count(props.data.counts[state])} ${state}`} />
            </>
          )}
        </For>
      </Title>
      <p data-age>{age()}</p>
      <Show when={props.data.open_incidents > 0}>
        <p>
          <a href="/incidents?open=true">
            {count(props.data.open_incidents)} open {props.data.open_incidents === 1 ? "incident" : "incidents"}
          </a>
        </p>
      </Show>
    </div>
  );
}
