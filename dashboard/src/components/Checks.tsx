/** The newest checks of a target, one by one. */

import { createMemo, For, Show, type JSX } from "solid-js";
import { clock, milliseconds, quantile, utc } from "../format";
import type { Check } from "../model";
import { seconds, type Points } from "../series";
import { now } from "../state";
import { Graph } from "./Graph";
import { Figure, State } from "./small";

/** How long each of them took. */
export function Elapsed(props: { checks: Check[] }): JSX.Element {
  const elapsed = createMemo(() => props.checks.flatMap((check) => (check.elapsed_ms === null ? [] : [check.elapsed_ms])));
  const points = createMemo((): Points => {
    const inOrder = [...props.checks].reverse();
    const times = inOrder.map((check) => seconds(check.timestamp));
    return { times, failed: inOrder.map((check) => check.elapsed_ms), coverage: [], step: 0 };
  });
  return (
    <section class="card" aria-label="Elapsed, check by check">
      <Show when={points().times.length > 1} fallback={<p class="dim">After two checks a graph stands here.</p>}>
        <Graph
          title={`Elapsed, last ${points().times.length} checks`}
          points={points()}
          from={points().times[0] ?? 0}
          to={points().times[points().times.length - 1] ?? 1}
          incidents={[]}
          changes={[]}
          unit="ms"
        />
      </Show>
      <dl class="figures">
        <Figure name="p50" value={milliseconds(quantile(elapsed(), 0.5))} hint={`Of the last ${elapsed().length} checks`} />
        <Figure name="p95" value={milliseconds(quantile(elapsed(), 0.95))} hint={`Of the last ${elapsed().length} checks`} />
        <Figure name="slowest" value={milliseconds(quantile(elapsed(), 1))} />
      </dl>
    </section>
  );
}

export function Checks(props: { checks: Check[] }): JSX.Element {
  return (
    <section class="card" aria-label="Checks">
      <div class="scroll" tabindex="0" role="region" aria-label="The last checks">
        <table class="numbers checks">
          <caption>The last {props.checks.length} checks, the newest first</caption>
          <thead>
            <tr>
              <th scope="col">started</th>
              <th scope="col">outcome</th>
              <th scope="col">code</th>
              <th scope="col">elapsed</th>
              <th scope="col">dns</th>
              <th scope="col">connect</th>
              <th scope="col">first byte</th>
            </tr>
          </thead>
          <tbody>
            <For each={props.checks}>
              {(check) => (
                <tr>
                  <th scope="row">
                    <time datetime={check.timestamp} title={utc(new Date(check.timestamp))}>
                      {clock(new Date(check.timestamp), new Date(now()))}
                    </time>
                  </th>
                  <td>
                    <State is={check.outcome} words={check.cause === null ? check.outcome : `${check.outcome}: ${check.detail ?? check.cause}`} />
                  </td>
                  <td>{check.code ?? "–"}</td>
                  <td>{milliseconds(check.elapsed_ms)}</td>
                  <td>{milliseconds(check.phases?.dns_ms ?? null)}</td>
                  <td>{milliseconds(check.phases?.connect_ms ?? null)}</td>
                  <td>{milliseconds(check.phases?.first_byte_ms ?? null)}</td>
                </tr>
              )}
            </For>
          </tbody>
        </table>
      </div>
    </section>
  );
}
