/** Many targets on little room: compact rows a page at a time, and a map of all of them. */

import { createMemo, createSignal, For, Show, type JSX } from "solid-js";
import { milliseconds, sentence } from "../format";
import { CELLS } from "../map";
import type { Group, State as StateName, TargetRow } from "../model";
import { targetPath } from "../router";
import { CellMap, type Named } from "./CellMap";
import { Pages, Table } from "./lists";
import { Age, Name, Share, State } from "./small";

/** More rows than this are shown page by page: a page of text, and few enough nodes. */
const PAGE = 50;
const byName = new Intl.Collator();

/** The character of a target on the map. */
function cellOf(row: TargetRow | undefined): string {
  const is = row?.state === "up" && row.failed_5m.bad > 0 ? "shaky" : (row?.state ?? "unknown");
  return String(CELLS.findIndex((cell) => cell.is === is));
}

export function TargetRows(props: { targets: TargetRow[] }): JSX.Element {
  const [page, setPage] = createSignal(0);
  const pages = (): number => Math.max(1, Math.ceil(props.targets.length / PAGE));
  // By name, so that a row stays where it is whatever becomes of its target.
  const names = createMemo(
    () => props.targets.map((target) => target.key).sort(byName.compare),
    [],
    { equals: (a, b) => a.length === b.length && a.every((key, i) => key === b[i]) },
  );
  const byKey = createMemo(() => new Map(props.targets.map((target) => [target.key, target])));
  const current = (): number => Math.min(page(), pages() - 1);
  const shown = createMemo(() => names().slice(current() * PAGE, (current() + 1) * PAGE));
  const cells = createMemo(() => names().map((key) => cellOf(byKey().get(key))).join(""));
  const found = (i: number): Named | null => {
    const row = byKey().get(names()[i] ?? "");
    return row ? { key: row.key, name: row.name, group: "" } : null;
  };
  return (
    <section class="card" aria-labelledby="all-targets">
      <h2 id="all-targets">Targets</h2>
      <Show when={props.targets.length > PAGE}>
        <CellMap groups={[{ name: "", n: names().length }]} cells={cells()} find={(i) => Promise.resolve(found(i))} />
      </Show>
      <Table label="All targets" columns={["target", "state", "failed 5 min", "1 h", "code", "took", "age"]} class="targets rows">
        <For each={shown()}>
          {(key) => (
            <Show when={byKey().get(key)}>
              {(row) => (
                <tr>
                  <th scope="row">
                    <a href={targetPath(key)} title={row().name} aria-label={row().name}>
                      <Name of={row().name} />
                    </a>
                  </th>
                  <td>
                    <State is={row().state} />
                  </td>
                  <td>
                    <Share of={row().failed_5m} />
                  </td>
                  <td>
                    <Share of={row().failed_1h} />
                  </td>
                  <td>{row().code ?? "–"}</td>
                  <td>{milliseconds(row().elapsed_ms)}</td>
                  <td>
                    <Age at={row().checked_at} />
                  </td>
                </tr>
              )}
            </Show>
          )}
        </For>
      </Table>
      <Pages of="targets" page={current() + 1} pages={pages()} go={(next) => setPage(next - 1)} />
    </section>
  );
}

/** Beyond five hundred targets: a tile for each group, never a node for each target. */
export const Tiles = (props: { groups: Group[] }): JSX.Element => (
  <section class="card" aria-labelledby="groups">
    <h2 id="groups">Groups</h2>
    <ul class="tiles">
      <For each={props.groups.map((group) => group.name)}>
        {(name, i) => {
          const group = (): Group => props.groups[i()] as Group;
          const worst = (): StateName =>
            group().down > 0 ? "down" : group().degraded > 0 ? "degraded" : group().unknown > 0 ? "unknown" : "up";
          return (
            <li class={`tile ${worst()}`}>
              <b>{name === "…" ? "all others" : <a href={`/targets?q=${encodeURIComponent(name)}&sort=state`}>{name}</a>}</b>
              <State is={worst()} words={sentence(group())} />
            </li>
          );
        }}
      </For>
    </ul>
  </section>
);
