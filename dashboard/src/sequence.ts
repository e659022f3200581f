/** How states follow each other on the socket: snapshots, deltas, and lists that keep their order. */

import type { RowChange } from "./model";

export interface Held {
  seq: number;
  data: Record<string, unknown>;
}

interface Delta {
  seq: number;
  base: number;
  set: Record<string, unknown>;
  rows: Record<string, RowChange>;
}

/** Targets are named by their key, all others by their name. */
const nameOf = (list: string, row: Record<string, unknown>): unknown =>
  list === "targets" || list === "rows" ? row.key : row.name;

/** The state after a delta; null when the delta does not start from the state that is held. */
export function apply(held: Held | null, delta: Delta): Held | null {
  if (held === null || held.seq !== delta.base) return null;
  const data = { ...held.data, ...delta.set };
  for (const [list, { put, gone }] of Object.entries(delta.rows)) {
    const before = (data[list] ?? []) as Record<string, unknown>[];
    const leaving = new Set<unknown>(gone);
    const coming = new Map(put.map((row) => [nameOf(list, row), row]));
    const after = [];
    for (const row of before) {
      const name = nameOf(list, row);
      const newer = coming.get(name);
      coming.delete(name);
      if (newer) after.push(newer);
      else if (!leaving.has(name)) after.push(row);
    }
    data[list] = [...after, ...coming.values()];
  }
  return { seq: delta.seq, data };
}

/**
 * The order in which to show what is there now. While somebody points at the list or has the focus
 * in it, what was there keeps its place, and what is new comes last.
 */
export function keepOrder<T>(shown: T[], wanted: T[], isHeld: boolean): T[] {
  if (!isHeld) return wanted;
  const left = new Set(wanted);
  const kept = shown.filter((name) => left.delete(name));
  return [...kept, ...left];
}

/** How many must move for `shown` to become `wanted`: those that are not among the most that keep their order. */
export function moved<T>(shown: T[], wanted: T[]): number {
  const places = new Map(wanted.map((name, i) => [name, i]));
  /** The least place at which an ascending run of this length ends. */
  const ends: number[] = [];
  for (const name of shown) {
    const place = places.get(name);
    if (place === undefined) continue;
    const longer = ends.findIndex((end) => end > place);
    ends[longer === -1 ? ends.length : longer] = place;
  }
  return Math.max(shown.length, wanted.length) - ends.length;
}
