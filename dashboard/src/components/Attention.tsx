/** What is not well, the worst first. Nothing moves while somebody is about to press it. */

import { createMemo, createSignal, For, Show, type JSX } from "solid-js";
import { count } from "../format";
import type { Attention as One, Glance } from "../model";
import { heldOrder, roomFor, worstFirst, type Room } from "../order";
import { targetPath } from "../router";
import { keepOrder } from "../sequence";
import { Age, Share, State } from "./small";

const FEW = 5;
/** Nobody reads what is sorted anew with every check. */
const CALM_MS = 10_000;

export function Attention(props: { data: Glance }): JSX.Element {
  const order = heldOrder(
    () => worstFirst(props.data.attention).map((one) => one.key),
    (shown, wanted) => keepOrder(shown, wanted, true),
    () => "",
    CALM_MS,
  );
  const byKey = createMemo(() => new Map(props.data.attention.map((one) => [one.key, one])));
  const [all, setAll] = createSignal(false);
  const shown = (): string[] => (all() ? order.names() : order.names().slice(0, FEW));
  const room = createMemo<Room>((before) => roomFor(before, props.data.attention.length, performance.now()), { rows: 1, at: 0 });
  return (
    <section class="card attention" aria-labelledby="attention" ref={order.hold}>
      <h2 id="attention">Needs attention</h2>
      <ul style={{ "--rows": Math.max(1, all() ? room().rows : Math.min(room().rows, FEW)) }}>
        <For each={shown()} fallback={<li class="none">Nothing does.</li>}>
          {(key) => (
            <Show when={byKey().get(key)}>
              {(one) => (
                <li class={one().state}>
                  <span class="what">
                    <a href={targetPath(key)} title={one().name}>
                      {one().name}
                    </a>
                    <State is={one().state} words={why(one())} />
                  </span>
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
                  <span class="dim share">
                    5 min: <Share of={one().failed_5m} />
                  </span>
                  <Show when={one().incident}>{(id) => <a href={`/incidents/${id()}`}>incident {id()}</a>}</Show>
                </li>
              )}
            </Show>
          )}
        </For>
      </ul>
      <Show when={room().rows > FEW}>
        <p class="rest">
          <button type="button" onClick={() => setAll(!all())} aria-expanded={all()}>
            {all() ? "Show the worst five" : `Show all ${count(order.names().length)}`}
          </button>
          <Show when={props.data.more_attention > 0}>
            <a href="/targets?sort=state">{count(props.data.more_attention)} more</a>
          </Show>
        </p>
      </Show>
    </section>
  );
}

const why = (one: One): string =>
  one.state === "down" && one.cause !== null
    ? `down: ${one.cause === "status" ? `status ${one.code ?? ""}` : one.cause}`
    : one.state;
