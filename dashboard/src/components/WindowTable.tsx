/** Raw counts of each window: the same numbers as `/api/v1/summary`. */

import { createSignal, For, Show, type JSX } from "solid-js";
import { columns, count, percent, share } from "../format";
import type { NamedWindow } from "../model";
import { chooseWindow, shown } from "../ranges";
import { query, refine } from "../router";

const NAMES: Record<string, string> = { "1m": "1 min", "5m": "5 min", "15m": "15 min", "1h": "1 h", "24h": "24 h" };

const Parts = (props: { of: [string, number][] }): JSX.Element => (
  <For each={props.of} fallback="none">
    {([name, n]) => (
      <span class="part">
        {name} × {count(n)}
      </span>
    )}
  </For>
);

/** Choosing a row chooses the window of the graph beside it. */
export function WindowTable(props: { windows: NamedWindow[]; of: string }): JSX.Element {
  const chosen = (): string => shown(query).window;
  const choose = (name: string): void => refine(chooseWindow(name));
  const [open, setOpen] = createSignal<string | null>(null);
  return (
    <div class="scroll" tabindex="0" role="region" aria-label={`Counts of ${props.of} by window`}>
      <table class="numbers windows">
        <caption>
          Checks of {props.of} until now
        </caption>
        <thead>
          <tr>
            <th scope="col">window</th>
            <th scope="col">no response</th>
            <th scope="col">500</th>
            <th scope="col">200</th>
            <th scope="col">other</th>
            <th scope="col">total</th>
            <th scope="col">failed</th>
            <th scope="col">coverage</th>
          </tr>
        </thead>
        <tbody>
          <For each={props.windows.map((window) => window.name)}>
            {(name, i) => {
              const window = (): NamedWindow => props.windows[i()] as NamedWindow;
              const cells = (): ReturnType<typeof columns> => columns(window());
              const isOpen = (): boolean => open() === name;
              const toggle = (): void => void setOpen(isOpen() ? null : name);
              const Cell = (cell: { n: number; of: string }): JSX.Element => (
                <td>
                  <Show when={cell.n > 0} fallback="0">
                    <button
                      type="button"
                      class="more"
                      aria-expanded={isOpen()}
                      aria-label={`${count(cell.n)} ${cell.of}, by kind`}
                      onClick={toggle}
                    >
                      {count(cell.n)} <span aria-hidden="true">{isOpen() ? "▾" : "▸"}</span>
                    </button>
                  </Show>
                </td>
              );
              const ClassOnly = (): JSX.Element => (
                <abbr title="Over this window only classes of status codes are kept: see other">–</abbr>
              );
              return (
                <>
                  <tr
                    data-window={name}
                    classList={{ chosen: chosen() === name }}
                    onClick={(event) => event.target.closest("button") === null && choose(name)}
                  >
                    <th scope="row">
                      <button
                        type="button"
                        class="more"
                        aria-pressed={chosen() === name}
                        title="Draw this window"
                        onClick={() => choose(name)}
                      >
                        {NAMES[name] ?? name}
                      </button>
                    </th>
                    <Cell n={cells().noResponse} of="no response" />
                    <td>{cells().c500 === null ? <ClassOnly /> : count(cells().c500 ?? 0)}</td>
                    <td>{cells().c200 === null ? <ClassOnly /> : count(cells().c200 ?? 0)}</td>
                    <Cell n={cells().other} of="other" />
                    <td>{count(cells().total)}</td>
                    <td classList={{ bad: window().counts.down > 0 }}>
                      {share(window().counts.down, window().counts.verdicts)}
                    </td>
                    <td title={`${count(window().counts.verdicts)} verdicts of ${count(window().counts.due)} checks due`}>
                      {percent(window().coverage_percentage)}
                    </td>
                  </tr>
                  <Show when={isOpen()}>
                    <tr class="parts">
                      <td colspan="8">
                        <b>no response:</b> <Parts of={cells().causes} /> <b>other:</b> <Parts of={cells().others} />{" "}
                        <b>without a verdict:</b>{" "}
                        <Parts
                          of={[
                            ["missed", window().counts.missed],
                            ["unknown", window().counts.unknown],
                          ]}
                        />
                      </td>
                    </tr>
                  </Show>
                </>
              );
            }}
          </For>
        </tbody>
      </table>
    </div>
  );
}
