/** Every target: searched, sorted and paged by the api, and kept current a page at a time. */

import { createMemo, For, Show, type JSX } from "solid-js";
import { Filters } from "../components/Filters";
import { FleetMap } from "../components/FleetMap";
import { Pages, Table } from "../components/lists";
import { Age, Name, Share, State, Title, Waiting } from "../components/small";
import { count, milliseconds, period } from "../format";
import { nameOf } from "../live";
import type { TablePage, TableRow } from "../model";
import { heldOrder } from "../order";
import { query, refine, targetPath } from "../router";
import { problem, table } from "../state";
import { tableQuery } from "../table";

/** What is sorted by a value that moves is sorted anew no more often. */
const CALM_MS = 10_000;

export function Targets(): JSX.Element {
  return (
    <>
      <Title>Targets</Title>
      <Filters />
      <FleetMap />
      <Show when={table.now} fallback={<Waiting for="targets" problem={problem()} />}>
        {(page) => <Found page={page()} />}
      </Show>
    </>
  );
}

const COLUMNS = ["target", "state", "failed 5 min", "1 h", "code", "took", "age", "every", "group", "labels"];

function Found(props: { page: TablePage }): JSX.Element {
  const asked = createMemo(() => nameOf({ subscribe: "table", ...tableQuery(query) }));
  const isBusy = (): boolean => table.of !== asked();
  const now = createMemo(() => new Map(props.page.rows.map((row) => [row.key, row])));
  const order = heldOrder(
    () => {
      // Asked anew with every state, so that an order that had to wait comes when it may.
      void props.page.as_of;
      return props.page.rows.map((row) => row.key);
    },
    // Whoever points at a row finds it there, even if it went to another page.
    (shown) => shown,
    () => table.of,
    CALM_MS,
  );
  /** The newest of every row that is shown, those that went away included. */
  const rows = createMemo<Map<string, TableRow>>((before) => {
    const known = new Map<string, TableRow>();
    for (const key of order.names()) {
      const row = now().get(key) ?? before.get(key);
      if (row) known.set(key, row);
    }
    return known;
  }, new Map());
  return (
    <div ref={order.hold}>
      <div class="found">
        <p class="dim" role="status">
          {isBusy() ? "Searching … " : ""}
          {count(props.page.found)} found
          <Show when={props.page.found !== props.page.total}>, {count(props.page.total)} in all</Show>
        </p>
        <Show when={order.moved() > 0}>
          <button type="button" onClick={order.apply}>
            {count(order.moved())} {order.moved() === 1 ? "row" : "rows"} changed order – apply
          </button>
        </Show>
      </div>
      <Show when={order.names().length > 0} fallback={<Nobody total={props.page.total} />}>
        <section class="card" aria-label="Targets found">
          <Table label="Targets" columns={COLUMNS} class="targets all" busy={isBusy()}>
            <For each={order.names()}>
              {(key) => <Show when={rows().get(key)}>{(row) => <Row row={row()} isGone={!now().has(key)} />}</Show>}
            </For>
          </Table>
        </section>
        <Pages of="targets" page={props.page.page} pages={props.page.pages} go={(page) => refine({ page: page > 1 ? String(page) : "" })} />
      </Show>
    </div>
  );
}

const why = (row: TableRow): string =>
  row.state === "down" && row.cause !== null && row.cause !== "status" ? `down: ${row.cause}` : row.state;

const Row = (props: { row: TableRow; isGone: boolean }): JSX.Element => (
  <tr classList={{ gone: props.isGone }} title={props.isGone ? "On another page now" : undefined}>
    <th scope="row">
      <a href={targetPath(props.row.key)} title={props.row.url} aria-label={props.row.name}>
        <Name of={props.row.name} />
      </a>
    </th>
    <td>
      <State is={props.row.state} words={why(props.row)} />
    </td>
    <td>
      <Share of={props.row.failed_5m} />
    </td>
    <td>{props.row.failed_1h === null ? "–" : <Share of={props.row.failed_1h} />}</td>
    <td>{props.row.code ?? "–"}</td>
    <td>{milliseconds(props.row.elapsed_ms)}</td>
    <td>
      <Age at={props.row.checked_at} />
    </td>
    <td>{period(props.row.interval_ms)}</td>
    <td class="wide">{props.row.group}</td>
    <td class="wide">
      {Object.entries(props.row.labels)
        .map(([name, value]) => `${name}:${value}`)
        .join(", ") || "–"}
    </td>
  </tr>
);

const Nobody = (props: { total: number }): JSX.Element => (
  <Show
    when={props.total > 0}
    fallback={
      <p class="note">
        Nothing is watched yet. <a href="/">How to begin</a>
      </p>
    }
  >
    <p class="note">
      No target fits.{" "}
      <button type="button" onClick={() => refine({ q: "", label: "", state: "", page: "" })}>
        Show all
      </button>
    </p>
  </Show>
);
