/** An incident as a list of what happened. */

import { duration, milliseconds, share } from "./format";
import type { IncidentDetail } from "./model";

export interface Entry {
  at: string;
  mark: string;
  kind: string;
  text: string;
}

/** What happened, in order of time. Of failures in a row only the first says so. */
export function timeline(incident: IncidentDetail): Entry[] {
  const entries: Entry[] = [];
  const { started_at, ended_at } = incident;
  const first = incident.failures[0];
  if (first) {
    const why = first.cause === null || first.cause === "status" ? `status ${first.code ?? "unknown"}` : first.cause;
    entries.push({ at: first.at, mark: "■", kind: "down", text: `First failure: ${why}, ${milliseconds(first.elapsed_ms)}` });
  }
  entries.push({
    at: started_at,
    mark: "■",
    kind: "down",
    text: `Objective broken: ${share(incident.total - incident.good, incident.total)} failed in the last ${duration(incident.window_seconds)}`,
  });
  for (const change of incident.changes) {
    const before = (Date.parse(started_at) - Date.parse(change.at)) / 1000;
    const broke = change.commit === incident.break?.commit;
    const fixed = change.commit === incident.fix?.commit;
    // A service that recovers by itself names the change it broke after once more.
    const role = broke && fixed ? "the suspect; no other change before it recovered" : broke ? "the suspect" : fixed ? "the fix" : "";
    entries.push({
      at: change.at,
      mark: "◆",
      kind: "change",
      text:
        `Change ${change.commit.slice(0, 12)}${change.author === null ? "" : ` by ${change.author}`}` +
        (before >= 0 ? `, ${duration(before)} before the objective broke` : "") +
        (role === "" ? "" : ` (${role})`),
    });
  }
  if (ended_at !== null) entries.push({ at: ended_at, mark: "●", kind: "up", text: "Objective restored" });
  return entries.sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
}
