/** Many targets on little room: compact rows a page at a time, and a map of all of them. */

import { createEffect, createMemo, createSignal, For, onCleanup, Show, type JSX } from "solid-js";
import { milliseconds, sentence, short } from "../format";
import type { Group, State as StateName, TargetRow } from "../model";
import { go, targetPath } from "../router";
import { theme } from "../state";
import { Age, Share, State } from "./small";

/** More rows than this are shown page by page: a page of text, and few enough nodes. */
const PAGE = 50;
const byName = new Intl.Collator();

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
  return (
    <section class="card" aria-labelledby="all-targets">
      <h2 id="all-targets">Targets</h2>
      <Show when={props.targets.length > PAGE}>
        <StateMap targets={props.targets} names={names()} />
      </Show>
      <div class="scroll" tabindex="0" role="region" aria-label="All targets">
        <table class="targets">
          <thead>
            <tr class="rows">
              <th scope="col">target</th>
              <th scope="col">state</th>
              <th scope="col">failed 5 min</th>
              <th scope="col">1 h</th>
              <th scope="col">code</th>
              <th scope="col">took</th>
              <th scope="col">age</th>
            </tr>
          </thead>
          <tbody>
            <For each={shown()}>
              {(key) => (
                <Show when={byKey().get(key)}>
                  {(row) => (
                    <tr class="rows">
                      <th scope="row">
                        <a href={targetPath(key)} title={row().name}>
                          {short(row().name)}
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
          </tbody>
        </table>
      </div>
      <Show when={pages() > 1}>
        <nav class="pages" aria-label="Pages of targets">
          <button type="button" disabled={current() === 0} onClick={() => setPage(current() - 1)}>
            Previous
          </button>
          <span>
            Page {current() + 1} of {pages()}
          </span>
          <button type="button" disabled={current() === pages() - 1} onClick={() => setPage(current() + 1)}>
            Next
          </button>
        </nav>
      </Show>
    </section>
  );
}

const CELL = 14;

/** One canvas whatever the number: a shape a target, in the order of the rows. */
function StateMap(props: { targets: TargetRow[]; names: string[] }): JSX.Element {
  let canvas: HTMLCanvasElement | undefined;
  const [width, setWidth] = createSignal(0);
  const columns = (): number => Math.max(1, Math.floor(width() / CELL));
  const rows = (): number => Math.ceil(props.names.length / columns());
  const counts = (): Record<StateName, number> => {
    const all = { up: 0, degraded: 0, down: 0, unknown: 0 };
    for (const target of props.targets) all[target.state] += 1;
    return all;
  };
  const at = (event: MouseEvent): string | undefined => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left) / CELL);
    return column < columns() ? props.names[Math.floor((event.clientY - box.top) / CELL) * columns() + column] : undefined;
  };
  createEffect(() => {
    theme();
    const context = canvas?.getContext("2d");
    if (!canvas || !context || width() === 0) return;
    const ratio = devicePixelRatio || 1;
    canvas.width = width() * ratio;
    canvas.height = rows() * CELL * ratio;
    canvas.style.height = `${rows() * CELL}px`;
    context.scale(ratio, ratio);
    const style = getComputedStyle(document.documentElement);
    const states = new Map(props.targets.map((target) => [target.key, target.state]));
    props.names.forEach((key, i) => {
      const state = states.get(key) ?? "unknown";
      const x = (i % columns()) * CELL + CELL / 2;
      const y = Math.floor(i / columns()) * CELL + CELL / 2;
      const r = state === "up" ? 3.5 : 5;
      context.fillStyle = context.strokeStyle = style.getPropertyValue(`--${state}`);
      context.beginPath();
      if (state === "up" || state === "unknown") context.arc(x, y, r, 0, 7);
      else if (state === "down") context.rect(x - r, y - r, 2 * r, 2 * r);
      else {
        context.moveTo(x, y - r);
        context.lineTo(x + r, y + r);
        context.lineTo(x - r, y + r);
      }
      if (state === "unknown") context.stroke();
      else context.fill();
    });
  });
  return (
    <canvas
      class="map"
      role="img"
      aria-label={`Map of all targets: ${sentence(counts())}. The table below has the same.`}
      ref={(element) => {
        canvas = element;
        const observer = new ResizeObserver(() => setWidth(element.clientWidth));
        observer.observe(element);
        onCleanup(() => observer.disconnect());
      }}
      onMouseMove={(event) => {
        event.currentTarget.title = at(event) ?? "";
      }}
      onClick={(event) => {
        const key = at(event);
        if (key !== undefined) go(targetPath(key));
      }}
    />
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
              <b>{name}</b>
              <State is={worst()} words={sentence(group())} />
            </li>
          );
        }}
      </For>
    </ul>
  </section>
);
