/** What is not well, the worst first. Nothing moves while somebody is about to press it. */

import { createMemo, createSignal, For, Show, type JSX } from "solid-js";
import { count } from "../format";
import type { Attention as One, Glance } from "../model";
import { heldOrder } from "../order";
import { targetPath } from "../router";
import { keepOrder } from "../sequence";
import { Age, Share, State } from "./small";

export function Attention(props: { data: Glance }): JSX.Element {
  const order = heldOrder(() => props.data.attention.map((one) => one.key), (shown, wanted) => keepOrder(shown, wanted, true));
  const byKey = createMemo(() => new Map(props.data.attention.map((one) => [one.key, one])));
  const [all, setAll] = createSignal(false);
  const shown = (): string[] => (all() ? order.names() : order.names().slice(0, 5));
  return (
    <section class="card attention" aria-labelledby="attention" ref={order.hold}>
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
      <Show when={order.names().length > 5}>
        <button type="button" onClick={() => setAll(!all())} aria-expanded={all()}>
          {all() ? "Show the worst five" : `Show all ${order.names().length}`}
        </button>
      </Show>
      <Show when={props.data.more_attention > 0}>
        <p>
          <a href="/targets?sort=state">{count(props.data.more_attention)} more</a>
        </p>
      </Show>
    </section>
  );
}

const why = (one: One): string =>
  one.state === "down" && one.cause !== null
    ? `down: ${one.cause === "status" ? `status ${one.code ?? ""}` : one.cause}`
    : one.state;
