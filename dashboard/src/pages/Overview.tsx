/** Is anything broken, what, since when, what changed; and does lookout itself do well? */

import { createMemo, createSignal, For, Show, type JSX } from "solid-js";
import { FailureGraph } from "../components/FailureGraph";
import { Age, Figure, Moment, Share, State, Title, Waiting } from "../components/small";
import { TargetRows, Tiles } from "../components/TargetRows";
import { WindowTable } from "../components/WindowTable";
import { count, duration, milliseconds } from "../format";
import type { Attention, Overview as Data } from "../model";
import { targetPath } from "../router";
import { keepOrder } from "../sequence";
import { ofOverview, seconds } from "../series";
import { now, overview, problem } from "../state";

export function Overview(): JSX.Element {
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
          <Filled data={data()} />
        </Show>
      )}
    </Show>
  );
}

function Filled(props: { data: Data }): JSX.Element {
  const series = createMemo(() => ofOverview(props.data.series));
  const one = (): boolean => props.data.counts.targets === 1;
  /** All rows stand beside the graph. */
  const few = (): boolean => props.data.counts.targets > 1 && props.data.counts.targets <= 25;
  const windows = (): JSX.Element => (
    <section class="card" aria-label="Windows">
      <WindowTable windows={props.data.windows} of={one() ? (props.data.targets?.[0]?.name ?? "the target") : "all targets"} />
    </section>
  );
  return (
    <>
      <Sentence data={props.data} />
      <div class="columns">
        <div class="column">
          <Show when={props.data.attention.length > 0}>
            <AttentionList data={props.data} />
          </Show>
          <Show when={few() && props.data.targets} fallback={windows()}>
            {(targets) => <TargetRows targets={targets()} />}
          </Show>
        </div>
        <div class="column">
          <Show when={few()}>{windows()}</Show>
          <section class="card" aria-label="Failures over time">
            <FailureGraph
              live={series()}
              liveEnd={seconds(props.data.series.to)}
              incidents={props.data.incidents}
              changes={props.data.changes}
            />
            <Beside data={props.data} />
          </section>
        </div>
      </div>
      <Show when={few() ? null : props.data.targets}>{(targets) => <TargetRows targets={targets()} />}</Show>
      <Show when={props.data.groups}>{(groups) => <Tiles groups={groups()} />}</Show>
      <Health data={props.data} />
    </>
  );
}

const STATES = ["up", "degraded", "down", "unknown"] as const;

function Sentence(props: { data: Data }): JSX.Element {
  const worst = (): string => {
    const { down, degraded, unknown } = props.data.counts;
    return down > 0 ? "down" : degraded > 0 ? "degraded" : unknown > 0 ? "unknown" : "up";
  };
  /** The newest verdict of the target that has waited longest for one; of all, where rows are not sent. */
  const oldest = (): { words: string; at: string | null } => {
    const moments = props.data.targets?.flatMap((target) => (target.checked_at === null ? [] : [target.checked_at]));
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

function AttentionList(props: { data: Data }): JSX.Element {
  const [isHeld, setHeld] = createSignal(false);
  const order = createMemo<string[]>(
    (shown) => keepOrder(shown, props.data.attention.map((one) => one.key), isHeld()),
    [],
    { equals: (a, b) => a.length === b.length && a.every((key, i) => key === b[i]) },
  );
  const byKey = createMemo(() => new Map(props.data.attention.map((one) => [one.key, one])));
  const [all, setAll] = createSignal(false);
  const shown = (): string[] => (all() ? order() : order().slice(0, 5));
  return (
    <section
      class="card attention"
      aria-labelledby="attention"
      onPointerEnter={() => setHeld(true)}
      onPointerLeave={() => setHeld(false)}
      onFocusIn={() => setHeld(true)}
      onFocusOut={() => setHeld(false)}
    >
      <h2 id="attention">Needs attention</h2>
      <ul>
        <For each={shown()}>
          {(key) => (
            <Show when={byKey().get(key)}>
              {(one) => (
                <li class={one().state}>
                  <a href={targetPath(key)}>{one().name}</a>
                  <State is={one().state} words={why(one())} />
                  <span class="dim">
                    <Show when={one().since} fallback={one().state === "unknown" ? "no verdict yet" : ""}>
                      {(since) => (
                        <>
                          {one().state === "unknown" ? "last heard " : "for "}
                          <Age at={since()} />
                          {one().state === "unknown" ? " ago" : ""}
                        </>
                      )}
                    </Show>
                  </span>
                  <span class="dim">
                    5 min: <Share of={one().failed_5m} />
                  </span>
                  <Show when={one().incident}>{(id) => <a href={`/incidents/${id()}`}>incident {id()}</a>}</Show>
                </li>
              )}
            </Show>
          )}
        </For>
      </ul>
      <Show when={order().length > 5}>
        <button type="button" onClick={() => setAll(!all())} aria-expanded={all()}>
          {all() ? "Show the worst five" : `Show all ${order().length}`}
        </button>
      </Show>
      <Show when={props.data.more_attention > 0}>
        <p>
          <a href="/targets?state=down">{count(props.data.more_attention)} more</a>
        </p>
      </Show>
    </section>
  );
}

const why = (one: Attention): string =>
  one.state === "down" && one.cause !== null
    ? `down: ${one.cause === "status" ? `status ${one.code ?? ""}` : one.cause}`
    : one.state;

/** What is drawn as spans and marks, in words and with links. */
const Beside = (props: { data: Data }): JSX.Element => (
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

const Health = (props: { data: Data }): JSX.Element => (
  <section class="card health" aria-labelledby="health">
    <h2 id="health">
      <a href="/system">lookout itself</a>
    </h2>
    <dl class="figures">
      <Figure name="workers" value={props.data.health.workers_running} warn={props.data.health.workers_running === 0} />
      <Figure
        name="worst lag"
        value={milliseconds(props.data.health.worst_lag_ms)}
        warn={(props.data.health.worst_lag_ms ?? 0) > 1000}
        hint="The largest lateness of a start"
      />
      <Figure name="missed" value={props.data.health.missed} warn={props.data.health.missed > 0} />
      <Figure name="unknown" value={props.data.health.unknown} warn={props.data.health.unknown > 0} />
      <Figure name="waiting to be stored" value={props.data.health.queue_depth + props.data.health.spool_depth} />
      <Figure
        name="batches behind"
        value={Math.max(0, ...props.data.health.readers.map((reader) => reader.batches_behind))}
      />
    </dl>
    <Show when={props.data.health.workers_running === 0}>
      <p class="note error">No worker runs: nothing is checked now.</p>
    </Show>
  </section>
);

const EXAMPLE = `targets:
  - name: home
    url: https://example.org/
    interval: 30s
  - name: shop
    url: https://example.com/health
    labels: {team: shop}
`;

function NoTargets(props: { health: Data["health"] }): JSX.Element {
  const [said, say] = createSignal("Copy");
  const copy = (): void => {
    navigator.clipboard.writeText(EXAMPLE).then(
      () => say("Copied"),
      () => say("Select the text and copy it"),
    );
  };
  return (
    <>
      <Title>Nothing is watched yet</Title>
      <section class="card empty">
        <p>
          Write a file of targets, say <code>targets.yaml</code>, and start lookout with{" "}
          <code>LOOKOUT_CONFIG=targets.yaml</code>:
        </p>
        <pre tabindex="0">{EXAMPLE}</pre>
        <button type="button" onClick={copy}>
          {said()}
        </button>
        <p>
          Or name some URLs: <code>URLS='https://example.org/ https://example.com/health'</code>. They appear here as soon
          as a worker has read them; {props.health.workers_running === 0 ? "no worker runs now." : "one is running."}
        </p>
      </section>
    </>
  );
}
