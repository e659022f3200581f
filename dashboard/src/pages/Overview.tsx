/** Is anything broken, what, since when, what changed; and does lookout itself do well? */

import { createMemo, Show, type JSX } from "solid-js";
import { Attention } from "../components/Attention";
import { Beside } from "../components/Beside";
import { NoTargets } from "../components/Empty";
import { FailureGraph } from "../components/FailureGraph";
import { FleetMap } from "../components/FleetMap";
import { Health } from "../components/Health";
import { Sentence } from "../components/Sentence";
import { Later, Offline, Title, Waiting } from "../components/small";
import { TargetRows, Tiles } from "../components/TargetRows";
import { WindowTable } from "../components/WindowTable";
import type { Glance, TargetRow } from "../model";
import { offline } from "../offline";
import { ofOverview, seconds } from "../series";
import { overview, problem, rows, series } from "../state";
import { One } from "./One";

/** So many rows stand beside the graph. */
const FEW = 25;

export function Overview(): JSX.Element {
  const only = (): TargetRow | undefined => (overview.now?.counts.targets === 1 ? rows()?.[0] : undefined);
  return (
    <Show
      when={overview.now}
      fallback={
        <>
          <Title>Overview</Title>
          <Waiting for="the overview" problem={problem()} />
        </>
      }
    >
      {(data) => (
        <Show when={data().counts.targets > 0} fallback={<NoTargets health={data().health} />}>
          <Offline of={offline(data().health)} />
          <Show when={only()} fallback={<Many data={data()} />}>
            {(row) => <One data={data()} row={row()} />}
          </Show>
        </Show>
      )}
    </Show>
  );
}

function Many(props: { data: Glance }): JSX.Element {
  const few = (): boolean => props.data.counts.targets <= FEW;
  const windows = (): JSX.Element => (
    <section class="card" aria-label="Windows">
      <WindowTable windows={props.data.windows} of="all targets" />
    </section>
  );
  return (
    <>
      <Sentence data={props.data} />
      <div class="columns">
        <div class="column">
          <Attention data={props.data} />
          <Show when={few() && rows()} fallback={windows()}>
            {(targets) => <TargetRows targets={targets()} />}
          </Show>
        </div>
        <div class="column">
          <Show when={few()}>{windows()}</Show>
          <Failures data={props.data} />
        </div>
      </div>
      <Show when={few() ? null : rows()}>
        {(targets) => (
          <Later>
            <TargetRows targets={targets()} />
            <Health data={props.data} />
          </Later>
        )}
      </Show>
      <Show when={props.data.groups}>
        {(groups) => (
          <Later>
            <FleetMap />
            <Tiles groups={groups()} />
            <Health data={props.data} />
          </Later>
        )}
      </Show>
      {/* Below what comes later it comes with that, or it would be pushed down. */}
      <Show when={few()}>
        <Health data={props.data} />
      </Show>
    </>
  );
}

export function Failures(props: { data: Glance }): JSX.Element {
  const points = createMemo(() => {
    const hour = series();
    return hour === null ? null : ofOverview(hour);
  });
  return (
    <section class="card" aria-label="Failures over time">
      <FailureGraph
        live={points()}
        liveEnd={seconds(series()?.to ?? props.data.as_of)}
        incidents={props.data.incidents}
        changes={props.data.changes}
      />
      <Beside data={props.data} />
    </section>
  );
}
