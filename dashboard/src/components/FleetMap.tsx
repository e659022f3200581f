/** The map of more targets than one answer has rows for: their states in a byte each, a name when it is asked for. */

import { createSignal, Show, type JSX } from "solid-js";
import { get } from "../api";
import type { TablePage, TargetMap } from "../model";
import { polled } from "../polled";
import { query, refine } from "../router";
import { tablePath } from "../table";
import { CellMap, type Named } from "./CellMap";
import { Waiting } from "./small";

const EVERY_MS = 5_000;
const PAGE = 50;
const MOST_PAGES = 40;

/** Names of cells, by the page of the table that they are on. A new list of targets has new pages. */
export function names(fetch: (path: string) => Promise<TablePage>): (i: number, total: number) => Promise<Named | null> {
  const pages = new Map<number, Promise<TablePage>>();
  return async (i, total) => {
    const page = Math.floor(i / PAGE) + 1;
    let asked = pages.get(page);
    if (!asked) {
      asked = fetch(tablePath({ q: "", state: "", label: "", sort: "group", page }));
      pages.set(page, asked);
      asked.catch(() => pages.delete(page));
      const oldest = pages.keys().next();
      if (pages.size > MOST_PAGES && !oldest.done) pages.delete(oldest.value);
    }
    const answer = await asked;
    if (answer.total !== total) pages.delete(page);
    return answer.rows[i % PAGE] ?? null;
  };
}

function Loaded(): JSX.Element {
  const asked = polled<TargetMap>(() => "/api/v1/map", EVERY_MS);
  const find = names(async (path) => (await get(path, null)).data as unknown as TablePage);
  return (
    <Show when={asked.data()} fallback={<Waiting for="the map" problem={asked.problem()} retry={asked.refresh} />}>
      {(data) => (
        <>
          <Show when={asked.problem()}>{(problem) => <Waiting for="the map" problem={problem()} />}</Show>
          <CellMap groups={data().groups} cells={data().cells} find={(i) => find(i, data().cells.length)} />
        </>
      )}
    </Show>
  );
}

/** On demand: whoever wants it presses the button, and the address remembers. */
export function FleetMap(): JSX.Element {
  const [isOpen, setOpen] = createSignal(query("map") === "1");
  return (
    <section class="card" aria-label="Map">
      <button
        type="button"
        aria-expanded={isOpen()}
        onClick={() => {
          setOpen(!isOpen());
          refine({ map: isOpen() ? "1" : "" });
        }}
      >
        <span aria-hidden="true">{isOpen() ? "▾" : "▸"}</span> Map of all targets
      </button>
      <Show when={isOpen()}>
        <Loaded />
      </Show>
    </section>
  );
}
