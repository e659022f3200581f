/** The order of a list that stands still while somebody points at it or has the focus in it. */

import { createMemo, createSignal, type Accessor } from "solid-js";
import type { Attention } from "./model";
import { moved } from "./sequence";

const byName = new Intl.Collator();

interface Shown {
  names: string[];
  /** What the list is of: another search is another list. */
  of: string;
  applied: number;
}

/** What to show next. `keep` makes it of what is shown and what is wanted, as long as the list is held. */
export function nextOrder(
  shown: Shown,
  wanted: Shown,
  isHeld: boolean,
  keep: (shown: string[], wanted: string[]) => string[],
): Shown {
  if (!isHeld || shown.of !== wanted.of || shown.applied !== wanted.applied) return wanted;
  return { ...wanted, names: keep(shown.names, wanted.names) };
}

const same = (a: string[], b: string[]): boolean => a.length === b.length && a.every((name, i) => name === b[i]);

export interface Order {
  names: Accessor<string[]>;
  /** How many would move now. */
  moved: Accessor<number>;
  apply: () => void;
  /** For the element within which the list stands still. */
  hold: (element: HTMLElement) => void;
}

/** Nobody reads what is sorted anew every second: after each time it stands still for `calm` milliseconds. */
export function heldOrder(
  wanted: Accessor<string[]>,
  keep: (shown: string[], wanted: string[]) => string[],
  of: Accessor<string> = () => "",
  calm = 0,
): Order {
  const [isPointedAt, setPointedAt] = createSignal(false);
  const [hasFocus, setFocus] = createSignal(false);
  const [applied, setApplied] = createSignal(0);
  let settled = 0;
  const shown = createMemo<Shown>(
    (before) => {
      const isHeld = isPointedAt() || hasFocus() || performance.now() - settled < calm;
      const next = nextOrder(before, { names: wanted(), of: of(), applied: applied() }, isHeld, keep);
      if (!same(before.names, next.names)) settled = performance.now();
      return next;
    },
    { names: [], of: "", applied: -1 },
  );
  return {
    names: createMemo(() => shown().names, [], { equals: same }),
    moved: createMemo(() => moved(shown().names, wanted())),
    apply: () => setApplied(applied() + 1),
    hold: (element) => {
      element.addEventListener("pointerenter", () => setPointedAt(true));
      element.addEventListener("pointerleave", () => setPointedAt(false));
      element.addEventListener("focusin", () => setFocus(true));
      element.addEventListener("focusout", () => setFocus(false));
    },
  };
}

/** The most rows there were of late, and when there were so many. */
export interface Room {
  rows: number;
  at: number;
}

const ROOM_MS = 60_000;

/** A list that loses a row keeps its room for a minute, so that one that comes and goes moves nothing below it. */
export function roomFor(before: Room, rows: number, now: number): Room {
  return rows >= before.rows || now - before.at > ROOM_MS ? { rows, at: now } : before;
}

/** Whether it is broken, not well or silent: who fails now and then and has an open incident is broken all the while. */
const grade = (one: Attention): number =>
  one.state === "down" || one.incident !== null ? 0 : one.state === "degraded" ? 1 : 2;

/** In steps of a tenth: a check more or less changes no places. */
const tenths = ({ failed_5m: { bad, total } }: Attention): number => (total === 0 ? 0 : Math.ceil((10 * bad) / total));

/** What needs attention, the worst first, and equals by name: the same checks failing on do not move it. */
export const worstFirst = (all: Attention[]): Attention[] =>
  [...all].sort((a, b) => grade(a) - grade(b) || tenths(b) - tenths(a) || byName.compare(a.name, b.name));
