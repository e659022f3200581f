/** All targets at a glance: one canvas and one cell to choose, by pointer or by keys. */

import { createEffect, createMemo, createSignal, For, on, onCleanup, Show, type JSX } from "solid-js";
import { count, MARKS } from "../format";
import { cellAt, CELLS, changed, layout, nextBad, placeOf, step, tally, type Group } from "../map";
import { go, targetPath } from "../router";
import { theme } from "../state";
import { paint, type Painter } from "./cells";

/** Who a cell is. */
export interface Named {
  key: string;
  name: string;
  group: string;
}

interface Props {
  groups: Group[];
  cells: string;
  /** Which target the cell shows; null where it cannot be told now. */
  find: (i: number) => Promise<Named | null>;
}

/** A pointer on its way somewhere asks for nothing. */
const REST_MS = 80;

export function CellMap(props: Props): JSX.Element {
  const [canvas, setCanvas] = createSignal<HTMLCanvasElement>();
  const [width, setWidth] = createSignal(0);
  const [chosen, choose] = createSignal<number | null>(null);
  const [named, setNamed] = createSignal<Named | null>(null);
  const groups = createMemo(() => props.groups, [], {
    equals: (a, b) => a.length === b.length && a.every(({ name, n }, i) => name === b[i]?.name && n === b[i]?.n),
  });
  const map = createMemo(() => layout(groups(), width()));
  const place = createMemo(() => {
    const i = chosen();
    return i === null ? null : placeOf(map(), i);
  });

  /** A finger covers many cells: it chooses, and the link below opens. */
  let pointer = "mouse";
  let painter: Painter | null = null;
  let painted = "";
  const paintAll = (): void => {
    const into = canvas();
    painted = props.cells;
    painter = into ? paint(into, map(), width(), painted) : null;
  };
  createEffect(on([canvas, map, theme], paintAll));
  createEffect(() => {
    const cells = props.cells;
    const which = changed(painted, cells);
    painted = cells;
    painter?.repaint(cells, which);
  });
  const schemes = ["(prefers-color-scheme: dark)", "(forced-colors: active)"].map((query) => matchMedia(query));
  for (const scheme of schemes) scheme.addEventListener("change", paintAll);
  let rest: ReturnType<typeof setTimeout> | undefined;
  onCleanup(() => {
    clearTimeout(rest);
    for (const scheme of schemes) scheme.removeEventListener("change", paintAll);
  });

  const name = async (i: number): Promise<void> => {
    const found = await props.find(i).catch(() => null);
    if (chosen() === i) setNamed(found);
  };
  const point = (i: number | null): void => {
    if (i === null || i === chosen()) return;
    choose(i);
    setNamed(null);
    clearTimeout(rest);
    rest = setTimeout(() => void name(i), REST_MS);
  };
  const at = (event: MouseEvent): number | null => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    return cellAt(map(), event.clientX - box.left, event.clientY - box.top);
  };
  const open = async (): Promise<void> => {
    const i = chosen();
    const one = named() ?? (i === null ? null : await props.find(i).catch(() => null));
    if (one !== null) go(targetPath(one.key));
  };
  const press = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const next = step(map(), chosen() ?? 0, event.key);
    if (event.key === "Enter") void open();
    else if (next !== null) point(chosen() === null ? 0 : next);
    else return;
    event.preventDefault();
  };
  const kind = (): (typeof CELLS)[number] => CELLS[Number(props.cells[chosen() ?? 0])] ?? CELLS[0];
  const counts = createMemo(() => tally(props.cells));
  const sentence = (): string =>
    CELLS.map(({ words }, i) => [counts()[i] ?? 0, words] as const)
      .filter(([n]) => n > 0)
      .map(([n, words]) => `${count(n)} ${words}`)
      .join(", ");

  return (
    <>
      <ul class="legend" aria-label="What the shapes mean">
        <For each={[...CELLS].reverse()}>
          {({ is, words }, i) => (
            <li>
              <span class={`state ${is}`} aria-hidden="true">
                {MARKS[is]}
              </span>{" "}
              {words}: {count(counts()[CELLS.length - 1 - i()] ?? 0)}
            </li>
          )}
        </For>
      </ul>
      <div class="map-says">
        <p role="status">
          <Show when={chosen() !== null} fallback="Point at a cell, or go there with the arrow keys.">
            <span class={`state ${kind().is}`}>
              <span aria-hidden="true">{MARKS[kind().is]}</span> {kind().words}
            </span>{" "}
            <Show when={named()} fallback={`· cell ${count((chosen() ?? 0) + 1)} of ${count(props.cells.length)}`}>
              {(one) => (
                <>
                  · <a href={targetPath(one().key)}>{one().name}</a>
                  {one().group === "" ? "" : ` · ${one().group}`}
                </>
              )}
            </Show>
          </Show>
        </p>
        <button type="button" onClick={() => point(nextBad(props.cells, chosen() ?? -1))}>
          Next degraded or down
        </button>
      </div>
      <div
        class="map"
        role="application"
        tabindex="0"
        aria-label={`Map of all targets: ${sentence()}. Arrow keys move, Enter opens. The table of targets says the same in words.`}
        ref={(element) => {
          const observer = new ResizeObserver(() => setWidth(element.clientWidth));
          observer.observe(element);
          onCleanup(() => observer.disconnect());
        }}
        onKeyDown={press}
        onFocus={() => point(chosen() ?? 0)}
        onPointerMove={(event) => event.pointerType === "mouse" && point(at(event))}
        onPointerDown={(event) => {
          pointer = event.pointerType;
        }}
        onClick={(event) => {
          const isSame = at(event) === chosen();
          point(at(event));
          if (isSame && pointer === "mouse") void open();
        }}
      >
        <canvas ref={setCanvas} aria-hidden="true" />
        <Show when={place()}>
          {(corner) => (
            <div
              class="ring"
              style={{
                left: `${corner().x}px`,
                top: `${corner().y}px`,
                width: `${map().cell}px`,
                height: `${map().cell}px`,
              }}
            />
          )}
        </Show>
      </div>
    </>
  );
}
