/** The failed share of a rolling window over time. Its last point is the row of the window table. */

import { createMemo, For, type JSX } from "solid-js";
import type { Change, Incident, Summary } from "../model";
import { polled } from "../polled";
import { chooseRange, RANGES, shown, title } from "../ranges";
import { query, refine } from "../router";
import { ofSummary, seconds, type Points } from "../series";
import { now } from "../state";
import { Graph } from "./Graph";

interface Props {
  /** The key of a target; the fleet without one. */
  target?: string;
  /** No window is shorter: between two checks nothing is known. */
  least?: number;
  /** Five minutes rolling over the last hour, where it is pushed. */
  live?: Points | null;
  liveEnd?: number;
  incidents: Incident[];
  changes: Change[];
}

export function FailureGraph(props: Props): JSX.Element {
  const what = createMemo(() => shown(query));
  const window = (): number => Math.max(what().windowSeconds, props.least ?? 0);
  const isPushed = (): boolean => what().window === "5m" && what().range === "1h" && props.live !== undefined;
  const path = createMemo((): string | null => {
    if (isPushed()) return null;
    const of = props.target === undefined ? "" : `&target=${encodeURIComponent(props.target)}`;
    return `/api/v1/summary?window=${what().asked}${of}`;
  });
  const summary = polled<Summary>(path);
  const points = createMemo((): Points | null => {
    if (isPushed()) return props.live ?? null;
    const answer = summary.data();
    return answer === null ? null : ofSummary(answer, window());
  });
  const to = createMemo((): number => {
    if (isPushed()) return props.liveEnd ?? now() / 1000;
    const answer = summary.data();
    return answer === null ? now() / 1000 : seconds(answer.window.to);
  });
  return (
    <Graph
      title={title(window(), points()?.step ?? 0, what().range)}
      points={points()}
      from={to() - what().rangeSeconds}
      to={to()}
      incidents={props.incidents}
      changes={props.changes}
    >
      <For each={Object.entries(RANGES)}>
        {([range, { name }]) => (
          <button type="button" aria-pressed={what().range === range} onClick={() => refine(chooseRange(range, what()))}>
            {name}
          </button>
        )}
      </For>
    </Graph>
  );
}
