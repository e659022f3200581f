/** A graph, what it shows in a sentence, and the same numbers as a table. */

import { createEffect, createSignal, For, onCleanup, Show, type JSX } from "solid-js";
import { clock, milliseconds, percent } from "../format";
import type { Change, Incident } from "../model";
import { holes, seconds, thin, union, type Points } from "../series";
import { theme } from "../state";
import type { Drawing, Plot } from "./plot";

interface Props {
  /** What the line is, as a heading. */
  title: string;
  points: Points | null;
  from: number;
  to: number;
  incidents: Incident[];
  changes: Change[];
  unit?: "%" | "ms";
  children?: JSX.Element;
}

/** Small shares are seen on a small scale; the axis says which. */
const LEAST = { "%": 5, ms: 10 };

export function Graph(props: Props): JSX.Element {
  const [asTable, setAsTable] = createSignal(false);
  const [into, setInto] = createSignal<HTMLElement>();
  const unit = (): "%" | "ms" => props.unit ?? "%";
  const show = (value: number | null): string =>
    value === null ? "unknown" : unit() === "%" ? percent(value) : milliseconds(value);
  const drawing = (): Drawing | null => {
    const points = props.points;
    if (points === null) return null;
    const base: Drawing = {
      times: points.times,
      values: points.failed,
      holes: unit() === "%" ? holes(points) : [],
      incidents: union(
        props.incidents.map((incident) => ({
          from: seconds(incident.started_at),
          to: incident.ended_at === null ? props.to : seconds(incident.ended_at),
        })),
      ),
      changes: props.changes.map((change) => seconds(change.at)),
      from: props.from,
      to: props.to,
      unit: unit(),
      least: LEAST[unit()],
    };
    if (unit() === "%") return { ...base, most: 100 };
    return points.above ? { ...base, above: points.above } : { ...base, isDotted: true };
  };
  const sentence = (): string => {
    const points = props.points;
    if (points === null) return "";
    const known = points.failed.filter((value) => value !== null);
    const last = points.failed[points.failed.length - 1] ?? null;
    if (known.length === 0) return "Nothing is known of this time.";
    if (points.above) {
      const highest = Math.max(...points.above.map((value) => value ?? 0));
      return `Solid p50: now ${show(last)}, at most ${show(Math.max(...known))}; dashed p95: at most ${show(highest)}.`;
    }
    if (unit() === "ms") return `The last ${last === null ? "had no answer" : `took ${show(last)}`}, the slowest ${show(Math.max(...known))}.`;
    const shaded = props.incidents.length;
    const marked = props.changes.length;
    return (
      `Now ${show(last)}, at most ${show(Math.max(...known))}` +
      (holes(points).length > 0 ? "; hatched: less than half is known" : "") +
      (shaded > 0 ? `; shaded: ${shaded} ${shaded === 1 ? "incident" : "incidents"}` : "") +
      (marked > 0 ? `; ◆ ${marked} ${marked === 1 ? "change" : "changes"}` : "") +
      "."
    );
  };

  let drawn: Plot | null = null;
  let isGone = false;
  let isLoading = false;
  createEffect(() => {
    theme();
    const next = drawing();
    const element = into();
    if (next === null || element === undefined) return;
    if (drawn !== null) drawn.draw(next);
    else if (!isLoading) {
      isLoading = true;
      // The numbers come first: what draws is loaded once they are on screen.
      requestAnimationFrame(() =>
        setTimeout(() => {
          void import("./plot").then(({ plot }) => {
            const newest = drawing();
            if (!isGone && newest !== null) drawn = plot(element, newest);
          });
        }),
      );
    }
  });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const redraw = (): void => {
    const next = drawing();
    if (next !== null) drawn?.draw(next);
  };
  dark.addEventListener("change", redraw);
  onCleanup(() => {
    isGone = true;
    dark.removeEventListener("change", redraw);
    drawn?.destroy();
  });

  return (
    <figure class="graph">
      <figcaption>
        <h2>{props.title}</h2>
        <div class="tools">
          {props.children}
          <button type="button" aria-pressed={asTable()} onClick={() => setAsTable(!asTable())}>
            View as table
          </button>
        </div>
        <p class="summary">{sentence()}</p>
      </figcaption>
      <div class="plot" ref={setInto} role="img" aria-label={`${props.title}. ${sentence()}`} hidden={asTable()} />
      <Show when={asTable() && props.points}>
        {(points) => <Numbers title={props.title} points={points()} unit={unit()} show={show} />}
      </Show>
    </figure>
  );
}

/** The same for those who do not see it: at most sixty rows, the newest first. */
function Numbers(props: { title: string; points: Points; unit: "%" | "ms"; show: (value: number | null) => string }): JSX.Element {
  const rows = (): Points => thin(props.points, 60);
  const columns = (): [string, (i: number) => string][] => {
    const value = (i: number): string => props.show(rows().failed[i] ?? null);
    if (props.unit === "%") return [["failed", value], ["coverage", (i) => percent(rows().coverage[i] ?? null)]];
    if (!rows().above) return [["elapsed", value]];
    return [["p50", value], ["p95", (i) => props.show(rows().above?.[i] ?? null)]];
  };
  return (
    <div class="scroll plot-table" tabindex="0" role="region" aria-label={props.title}>
      <table class="numbers">
        <caption>
          {props.title}
          {rows().step > props.points.step ? ", the worst of every stretch" : ""}
        </caption>
        <thead>
          <tr>
            <th scope="col">until</th>
            <For each={columns()}>{([name]) => <th scope="col">{name}</th>}</For>
          </tr>
        </thead>
        <tbody>
          <For each={rows().times.map((_, i) => rows().times.length - 1 - i)}>
            {(i) => (
              <tr>
                <th scope="row">{clock(new Date((rows().times[i] ?? 0) * 1000), new Date())}</th>
                <For each={columns()}>{([, cell]) => <td>{cell(i)}</td>}</For>
              </tr>
            )}
          </For>
        </tbody>
      </table>
    </div>
  );
}
