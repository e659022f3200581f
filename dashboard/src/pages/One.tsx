/** Where one target is watched its page is the overview: a word for its state, and all that is known of it. */

import { createMemo, Show, type JSX } from "solid-js";
import { Checks } from "../components/Checks";
import { DayStrip } from "../components/DayStrip";
import { Health } from "../components/Health";
import { Age, Moment, State, Title, Waiting } from "../components/small";
import { WindowTable } from "../components/WindowTable";
import { count } from "../format";
import type { Glance, TargetDetail, TargetRow } from "../model";
import { polled } from "../polled";
import { targetPath } from "../router";
import { Failures } from "./Overview";

const EVERY_MS = 5_000;
const CHECKS = 10;

export function One(props: { data: Glance; row: TargetRow }): JSX.Element {
  const asked = polled<TargetDetail>(
    createMemo(() => `/api/v1/targets/${encodeURIComponent(props.row.key)}`),
    EVERY_MS,
  );
  const since = (): string | null => props.data.attention[0]?.since ?? asked.data()?.since ?? null;
  return (
    <>
      <div class={`sentence one ${props.row.state}`}>
        <Title>
          <State is={props.row.state} />
        </Title>
        <div>
          <p>
            <a href={targetPath(props.row.key)}>{props.row.name}</a>
          </p>
          <p class="dim" data-age>
            <Show when={since()}>{(at) => <>{props.row.state === "unknown" ? "last heard " : "since "}<Moment at={at()} /> · </>}</Show>
            {props.row.checked_at === null ? "no check yet" : <>last check <Age at={props.row.checked_at} /> ago</>}
          </p>
        </div>
        <Show when={props.data.open_incidents > 0}>
          <p>
            <a href="/incidents?open=true">
              {count(props.data.open_incidents)} open {props.data.open_incidents === 1 ? "incident" : "incidents"}
            </a>
          </p>
        </Show>
      </div>
      <section class="card" aria-label="Windows">
        <WindowTable windows={props.data.windows} of={props.row.name} />
      </section>
      <Failures data={props.data} />
      <DayStrip target={props.row.key} />
      <Show when={asked.data()} fallback={<Waiting for="the checks" problem={asked.problem()} retry={asked.refresh} />}>
        {(detail) => <Checks checks={detail().last_checks.slice(0, CHECKS)} />}
      </Show>
      <Health data={props.data} />
    </>
  );
}
