/** What is asked of the table of targets, as the address says it. */

import { createEffect, createSignal, For, on, onCleanup, type JSX } from "solid-js";
import { query, refine } from "../router";
import { SORTS, STATES } from "../table";

const REST_MS = 250;

/** What is typed, once whoever types rests. What the address says otherwise, as by the way back, is taken over. */
function typed(name: string): { value: () => string; type: (value: string) => void } {
  const [value, setValue] = createSignal(query(name));
  let rest: ReturnType<typeof setTimeout> | undefined;
  createEffect(
    on(
      () => query(name),
      (said) => {
        if (said.trim() !== value().trim()) setValue(said);
      },
      { defer: true },
    ),
  );
  onCleanup(() => clearTimeout(rest));
  return {
    value,
    type: (next) => {
      setValue(next);
      clearTimeout(rest);
      rest = setTimeout(() => refine({ [name]: next, page: "" }), REST_MS);
    },
  };
}

export function Filters(): JSX.Element {
  const search = typed("q");
  const label = typed("label");
  return (
    <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
      <label>
        Search
        <input
          type="search"
          id="search"
          placeholder="name, URL or label"
          maxlength="200"
          value={search.value()}
          onInput={(event) => search.type(event.currentTarget.value)}
        />
      </label>
      <label>
        Label
        <input
          type="text"
          placeholder="team:shop"
          maxlength="200"
          autocapitalize="off"
          value={label.value()}
          onInput={(event) => label.type(event.currentTarget.value)}
        />
      </label>
      <label>
        State
        <select value={query("state")} onChange={(event) => refine({ state: event.currentTarget.value, page: "" })}>
          <option value="">all</option>
          <For each={STATES}>{(state) => <option value={state}>{state}</option>}</For>
        </select>
      </label>
      <label>
        Order
        <select
          value={query("sort") || "name"}
          onChange={(event) => refine({ sort: event.currentTarget.value === "name" ? "" : event.currentTarget.value, page: "" })}
        >
          <For each={Object.entries(SORTS)}>{([sort, words]) => <option value={sort}>{words}</option>}</For>
        </select>
      </label>
    </form>
  );
}
