/** Every target. The list comes from the api a page at a time; search, state and order apply to that page. */

import { createMemo, For, Show, type JSX } from "solid-js";
import { Age, State, Title, Waiting } from "../components/small";
import { count, milliseconds, period, worstFirst } from "../format";
import type { Target } from "../model";
import { polled } from "../polled";
import { query, refine, targetPath } from "../router";
import { overview } from "../state";

const SHOWN = 50;
const FETCHED = 500;

export function matches(target: Target, search: string, state: string): boolean {
  if (state !== "" && target.state !== state) return false;
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const labels = Object.entries(target.labels).map(([name, value]) => `${name}:${value}`);
  const text = [target.name, target.key, target.url, ...labels].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

const ORDERS: Record<string, (a: Target, b: Target) => number> = {
  name: (a, b) => a.name.localeCompare(b.name),
  state: (a, b) => worstFirst(a.state, b.state) || a.name.localeCompare(b.name),
  slow: (a, b) => (b.last_check?.elapsed_ms ?? -1) - (a.last_check?.elapsed_ms ?? -1),
  age: (a, b) => (a.last_check?.timestamp ?? "").localeCompare(b.last_check?.timestamp ?? ""),
};

export function Targets(): JSX.Element {
  const path = createMemo(() => {
    const cursor = query("cursor");
    return `/api/v1/targets?limit=${FETCHED}${cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`}`;
  });
  const asked = polled<{ targets: Target[]; next: string | null }>(path);
  const total = (): number | null => overview.now?.counts.targets ?? null;
  const isPart = (): boolean => (asked.data()?.next ?? null) !== null || query("cursor") !== "";
  const found = createMemo(() => {
    const order = ORDERS[query("sort")] ?? ORDERS.name;
    return (asked.data()?.targets ?? [])
      .filter((target) => matches(target, query("q"), query("state")))
      .sort(order as (a: Target, b: Target) => number);
  });
  const pages = (): number => Math.max(1, Math.ceil(found().length / SHOWN));
  const page = (): number => Math.min(pages(), Math.max(1, Number(query("page")) || 1));
  const shown = createMemo(() => found().slice((page() - 1) * SHOWN, page() * SHOWN));
  const reset = { page: "" };
  return (
    <>
      <Title>Targets</Title>
      <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
        <label>
          Search
          <input
            type="search"
            id="search"
            placeholder="name, URL or label:value"
            value={query("q")}
            onInput={(event) => refine({ q: event.currentTarget.value, ...reset })}
          />
        </label>
        <label>
          State
          <select value={query("state")} onChange={(event) => refine({ state: event.currentTarget.value, ...reset })}>
            <option value="">all</option>
            <For each={["down", "degraded", "unknown", "up"]}>{(state) => <option value={state}>{state}</option>}</For>
          </select>
        </label>
        <label>
          Order
          <select value={query("sort") || "name"} onChange={(event) => refine({ sort: event.currentTarget.value, ...reset })}>
            <option value="name">by name</option>
            <option value="state">worst first</option>
            <option value="slow">slowest first</option>
            <option value="age">oldest check first</option>
          </select>
        </label>
      </form>
      <Show when={asked.data()} fallback={<Waiting for="targets" problem={asked.problem()} retry={asked.refresh} />}>
        <Show when={asked.problem()}>{(problem) => <Waiting for="targets" problem={problem()} retry={asked.refresh} />}</Show>
        <p class="dim" role="status">
          {count(found().length)} {isPart() ? `of the ${count(asked.data()?.targets.length ?? 0)} on this part of the list` : "found"}
          <Show when={total()}>{(all) => <>, {count(all())} in all</>}</Show>
        </p>
        <Show when={shown().length > 0} fallback={<p class="note">No target fits. Search for less, or choose all states.</p>}>
          <div class="card scroll" tabindex="0" role="region" aria-label="Targets">
            <table class="targets">
              <thead>
                <tr>
                  <th scope="col">target</th>
                  <th scope="col">state</th>
                  <th scope="col">code</th>
                  <th scope="col">took</th>
                  <th scope="col">age</th>
                  <th scope="col">every</th>
                </tr>
              </thead>
              <tbody>
                <For each={shown()}>
                  {(target) => (
                    <tr>
                      <th scope="row">
                        <a href={targetPath(target.key)}>{target.name}</a>
                      </th>
                      <td>
                        <State
                          is={target.state}
                          words={target.state === "down" && target.last_check?.cause ? `down: ${target.last_check.cause}` : target.state}
                        />
                      </td>
                      <td>{target.last_check?.code ?? "–"}</td>
                      <td>{milliseconds(target.last_check?.elapsed_ms ?? null)}</td>
                      <td>
                        <Age at={target.last_check?.timestamp ?? null} />
                      </td>
                      <td>{period(target.interval_ms)}</td>
                    </tr>
                  )}
                </For>
              </tbody>
            </table>
          </div>
        </Show>
        <nav class="pages" aria-label="Parts of the list">
          <Show when={pages() > 1}>
            <button type="button" disabled={page() <= 1} onClick={() => refine({ page: String(page() - 1) })}>
              Previous
            </button>
            <span>
              Page {page()} of {pages()}
            </span>
            <button type="button" disabled={page() >= pages()} onClick={() => refine({ page: String(page() + 1) })}>
              Next
            </button>
          </Show>
          <Show when={query("cursor") !== ""}>
            <button type="button" onClick={() => refine({ cursor: "", ...reset })}>
              First part
            </button>
          </Show>
          <Show when={asked.data()?.next}>
            {(next) => (
              <button type="button" onClick={() => refine({ cursor: next(), ...reset })}>
                Next {FETCHED}
              </button>
            )}
          </Show>
        </nav>
      </Show>
    </>
  );
}
