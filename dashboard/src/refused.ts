/** Configuration files that workers read and do not use. */

import type { System } from "./model";

export interface Refused {
  /** Who says so, in the order of the list. */
  workers: string[];
  /** All that is wrong, one problem a line; some go on below, with a caret. */
  problems: string;
}

/** What is wrong with newer configurations: the same once, with every running worker that says it. */
export function refused(workers: System["workers"]): Refused[] {
  const found = new Map<string, string[]>();
  for (const { id, state, config_error } of workers) {
    // One that has ended uses no configuration at all.
    if (state !== "running" || !config_error) continue;
    found.set(config_error, [...(found.get(config_error) ?? []), id]);
  }
  return [...found].map(([problems, ids]) => ({ workers: ids, problems }));
}
