/** What the lists of the pages share: a table that scrolls on its own, and the ways to more of it. */

import { For, Show, type JSX, type ParentProps } from "solid-js";
import { query, refine } from "../router";

/** `children` are the rows. */
export const Table = (props: ParentProps<{ label: string; columns: string[]; class?: string; busy?: boolean }>): JSX.Element => (
  <div class="scroll" tabindex="0" role="region" aria-label={props.label} aria-busy={props.busy}>
    <table class={props.class ?? "targets"}>
      <thead>
        <tr>
          <For each={props.columns}>{(column) => <th scope="col">{column}</th>}</For>
        </tr>
      </thead>
      <tbody>{props.children}</tbody>
    </table>
  </div>
);

/** By number, where it is known how many pages there are. */
export const Pages = (props: { of: string; page: number; pages: number; go: (page: number) => void }): JSX.Element => (
  <Show when={props.pages > 1}>
    <nav class="pages" aria-label={`Pages of ${props.of}`}>
      <button type="button" disabled={props.page <= 1} onClick={() => props.go(props.page - 1)}>
        Previous
      </button>
      <span>
        Page {props.page} of {props.pages}
      </span>
      <button type="button" disabled={props.page >= props.pages} onClick={() => props.go(props.page + 1)}>
        Next
      </button>
    </nav>
  </Show>
);

/** The path of a list that goes on by cursor: fifty at a time, from where the address says. */
export function cursorPath(list: string, narrowed: string[] = []): string {
  const asked = new URLSearchParams({ limit: "50" });
  for (const name of [...narrowed, "cursor"]) if (query(name) !== "") asked.set(name, query(name));
  return `/api/v1/${list}?${asked.toString()}`;
}

export const Older = (props: { next: string | null }): JSX.Element => (
  <nav class="pages" aria-label="Parts of the list">
    <Show when={query("cursor") !== ""}>
      <button type="button" onClick={() => refine({ cursor: "" })}>
        Newest
      </button>
    </Show>
    <Show when={props.next}>
      {(next) => (
        <button type="button" onClick={() => refine({ cursor: next() })}>
          Older
        </button>
      )}
    </Show>
  </nav>
);
