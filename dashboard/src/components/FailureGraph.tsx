/** The failed share over time: of the last hour as it rolls, of longer stretches step by step. */

import { createMemo, createSignal, For, type JSX } from "solid-js";
import type { Change, Incident, Summary } from "../model";
import { polled } from "../polled";
import { ofSummary, seconds, type Points } from "../series";
import { now } from "../state";
import { Graph } from "./Graph";

/** What is asked for: an hour needs the five minutes before it, to have a first whole window. */
const RANGES = [
  { name: "1 h", length: 3600, asked: "65m", window: 300, title: "Failed in 5 minutes, over an hour" },
  { name: "24 h", length: 86_400, asked: "24h", window: 0, title: "Failed, over 24 hours" },
  { name: "7 d", length: 7 * 86_400, asked: "168h", window: 0, title: "Failed, over 7 days" },
];

interface Props {
  /** The key of a target; the fleet without one. */
  target?: string;
  /** The last hour, where it is pushed. */
  live?: Points | null;
  liveEnd?: number;
  incidents: Incident[];
  changes: Change[];
}

export function FailureGraph(props: Props): JSX.Element {
  const [chosen, choose] = createSignal(0);
  const range = (): (typeof RANGES)[number] => RANGES[chosen()] ?? (RANGES[0] as (typeof RANGES)[number]);
  const isPushed = (): boolean => chosen() === 0 && props.live !== undefined;
  const path = createMemo((): string | null => {
    if (isPushed()) return null;
    const of = props.target === undefined ? "" : `&target=${encodeURIComponent(props.target)}`;
    return `/api/v1/summary?window=${range().asked}${of}`;
  });
  const summary = polled<Summary>(path);
  const points = createMemo((): Points | null => {
    if (isPushed()) return props.live ?? null;
    const answer = summary.data();
    return answer === null ? null : ofSummary(answer, range().window);
  });
  const to = createMemo((): number => {
    if (isPushed()) return props.liveEnd ?? now() / 1000;
    const answer = summary.data();
    return answer === null ? now() / 1000 : seconds(answer.window.to);
  });
  return (
    <Graph
      title={range().title}
      points={points()}
      from={to() - range().length}
      to={to()}
      incidents={props.incidents}
      changes={props.changes}
    >
      <For each={RANGES}>
        {(one, i) => (
          <button type="button" aria-pressed={chosen() === i()} onClick={() => choose(i())}>
            {one.name}
          </button>
        )}
      </For>
    </Graph>
  );
}
