/** Ninety days at a glance, thirty on a phone: a bar a day, and the words of the one that is chosen. */

import { createMemo, createSignal, For, onCleanup, Show, type JSX } from "solid-js";
import { MARKS, percent } from "../format";
import type { Day } from "../model";
import { polled } from "../polled";
import { describe, kindOf, move, overall } from "../strip";
import { Waiting } from "./small";

const EVERY_MS = 60_000;
const DAYS = 90;
const DAYS_ON_A_PHONE = 30;

export function DayStrip(props: { target: string }): JSX.Element {
  const asked = polled<{ days: Day[] }>(
    createMemo(() => `/api/v1/targets/${encodeURIComponent(props.target)}/days?days=${DAYS}`),
    EVERY_MS,
  );
  const phone = matchMedia("(max-width: 700px)");
  const [isPhone, setPhone] = createSignal(phone.matches);
  const turned = (): void => void setPhone(phone.matches);
  phone.addEventListener("change", turned);
  onCleanup(() => phone.removeEventListener("change", turned));
  const days = createMemo(() => (asked.data()?.days ?? []).slice(isPhone() ? -DAYS_ON_A_PHONE : -DAYS));
  return (
    <section class="card strip" aria-labelledby="days">
      <h2 id="days">{isPhone() ? DAYS_ON_A_PHONE : DAYS} days</h2>
      <Show
        when={days().length > 0}
        fallback={<Show when={asked.data()} fallback={<Waiting for="the days" problem={asked.problem()} retry={asked.refresh} />}>No day yet.</Show>}
      >
        <Strip days={days()} />
      </Show>
    </section>
  );
}

function Strip(props: { days: Day[] }): JSX.Element {
  let strip: HTMLDivElement | undefined;
  const [chosen, choose] = createSignal<number | null>(null);
  const last = (): number => props.days.length - 1;
  const current = (): number => Math.min(chosen() ?? last(), last());
  const all = createMemo(() => overall(props.days));
  const dates = createMemo(() => props.days.map((day) => day.date), [], {
    equals: (a, b) => a.length === b.length && a[0] === b[0],
  });
  const press = (event: KeyboardEvent): void => {
    const next = move(current(), props.days.length, event.key);
    if (next === null || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    choose(next);
    (strip?.children[next] as HTMLElement | undefined)?.focus();
  };
  return (
    <>
      <div class="days" role="group" aria-label="Days, the newest last; arrow keys go from one to the next" ref={strip} onKeyDown={press}>
        <For each={dates()}>
          {(_, i) => {
            const day = (): Day => props.days[i()] as Day;
            return (
              <button
                type="button"
                class={`day ${kindOf(day())}`}
                classList={{ chosen: chosen() === i() }}
                tabindex={current() === i() ? 0 : -1}
                aria-label={describe(day())}
                onFocus={() => choose(i())}
                onClick={() => choose(i())}
                onPointerEnter={() => choose(i())}
              >
                {kindOf(day()) === "degraded" || kindOf(day()) === "down" ? MARKS[kindOf(day())] : ""}
              </button>
            );
          }}
        </For>
      </div>
      <p class="dim day-ends" aria-hidden="true">
        <span>{props.days[0]?.date}</span>
        <span>{props.days[last()]?.date}</span>
      </p>
      <p class="day-says">{describe(props.days[current()] as Day)}</p>
      <p class="dim">
        Uptime {percent(all().uptime)}, coverage {percent(all().coverage)}. Uptime = checks that were up or degraded ÷ checks with a
        verdict; missed and unknown ones are left out of it, and coverage says how many have a verdict. ● 100 % · ▲ from 99 % · ■ below ·
        hatched: no data. Days are UTC.
      </p>
    </>
  );
}
