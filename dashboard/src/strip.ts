/** A strip of days: what each was like, in words, and where keys lead. */

import { count, duration, percent } from "./format";
import type { Day } from "./model";

/** Below this a day was bad, not only marred. */
const BAD = 99;

/** The state that a day is drawn as. Of a day without a verdict nothing is known. */
export function kindOf(day: Day): "up" | "degraded" | "down" | "unknown" {
  if (day.uptime_percentage === null) return "unknown";
  if (day.uptime_percentage === 100) return "up";
  return day.uptime_percentage >= BAD ? "degraded" : "down";
}

export function describe(day: Day): string {
  const incidents =
    day.incidents === 0
      ? ""
      : `, ${count(day.incidents)} ${day.incidents === 1 ? "incident" : "incidents"}, ${duration(day.incident_minutes * 60)} in all`;
  if (day.uptime_percentage === null) return `${day.date}: no data${incidents}`;
  return `${day.date}: uptime ${percent(day.uptime_percentage)}, coverage ${percent(day.coverage_percentage)}${incidents || ", no incident"}`;
}

/** Over all days, from their checks: a day with few of them counts for little. */
export function overall(days: Day[]): { uptime: number | null; coverage: number | null } {
  let [good, verdicts, due] = [0, 0, 0];
  for (const { up, degraded, down, missed, unknown } of days) {
    good += up + degraded;
    verdicts += up + degraded + down;
    due += up + degraded + down + missed + unknown;
  }
  return { uptime: verdicts === 0 ? null : (good / verdicts) * 100, coverage: due === 0 ? null : (verdicts / due) * 100 };
}

const WEEK = 7;

/** Where a key leads from day `i` of `n`; null when it is no key of the strip. */
export function move(i: number, n: number, key: string): number | null {
  const to = { ArrowLeft: i - 1, ArrowRight: i + 1, PageUp: i - WEEK, PageDown: i + WEEK, Home: 0, End: n - 1 }[key];
  return to === undefined ? null : Math.max(0, Math.min(n - 1, to));
}
