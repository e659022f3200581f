/** What the api answers, as `docs/LIVE.md` and `/api/openapi.json` describe it. */

import type { TableQuery } from "./table";

export type State = "up" | "degraded" | "down" | "unknown";
export type Outcome = State | "missed";

export interface Counts {
  up: number;
  degraded: number;
  down: number;
  missed: number;
  unknown: number;
  verdicts: number;
  due: number;
}

export interface Measure {
  counts: Counts;
  no_response: Record<string, number>;
  status_classes: Record<string, number>;
  /** Absent where a roll-up was read. */
  status_codes?: Record<string, number>;
  failure_percentage: number | null;
  coverage_percentage: number | null;
}

export interface Span {
  from: string;
  to: string;
  seconds: number;
  source: "rows" | "second" | "minute" | "hour" | "day";
}

export interface NamedWindow extends Span, Measure {
  name: string;
}

export interface Failed {
  bad: number;
  total: number;
}

export interface TargetRow {
  key: string;
  name: string;
  state: State;
  failed_5m: Failed;
  failed_1h: Failed;
  code: number | null;
  elapsed_ms: number | null;
  checked_at: string | null;
}

export interface Attention {
  key: string;
  name: string;
  state: State;
  since: string | null;
  cause: string | null;
  code: number | null;
  failed_5m: Failed;
  incident: number | null;
}

export interface Group {
  name: string;
  n: number;
  up: number;
  degraded: number;
  down: number;
  unknown: number;
  failed_5m: Failed;
}

export interface Change {
  service?: string;
  commit: string;
  author: string | null;
  at: string;
}

export interface Incident {
  id: number;
  service: string;
  verb: string;
  resource: string;
  target: string | null;
  started_at: string;
  ended_at: string | null;
  duration_seconds: number | null;
  objective: number;
  window_seconds: number;
  good: number;
  total: number;
  break: Change | null;
  fix: Change | null;
}

export interface IncidentDetail extends Incident {
  failures: { at: string; cause: string | null; code: number | null; elapsed_ms: number | null; detail?: string }[];
  changes: Change[];
}

/** Point `i` belongs to `from + (i + 1) · step_seconds`. */
export interface RollingSeries {
  from: string;
  to: string;
  step_seconds: number;
  window_seconds: number;
  failure_percentage: (number | null)[];
  coverage_percentage: (number | null)[];
}

export interface Reader {
  name: string;
  batches_behind: number;
  lag_seconds: number;
}

export interface Health {
  workers_running: number;
  /** Running workers whose own network or name server is gone. */
  workers_offline: number;
  /** Since when, the first of them; null while there is none. */
  offline_since: string | null;
  worst_lag_ms: number | null;
  missed: number;
  unknown: number;
  queue_depth: number;
  spool_depth: number;
  readers: Reader[];
}

export interface Overview {
  as_of: string;
  newest_check: string | null;
  counts: { targets: number; up: number; degraded: number; down: number; unknown: number };
  windows: NamedWindow[];
  series: RollingSeries;
  attention: Attention[];
  more_attention: number;
  incidents: Incident[];
  open_incidents: number;
  changes: Change[];
  targets: TargetRow[] | null;
  groups: Group[] | null;
  health: Health;
}

/** The overview without its long lists. */
export type Glance = Omit<Overview, "targets" | "series">;

export interface LastCheck {
  timestamp: string;
  cause: string | null;
  code: number | null;
  elapsed_ms: number | null;
}

export interface Target {
  key: string;
  name: string;
  url: string;
  method: string;
  interval_ms: number;
  timeout_ms: number;
  degraded_ms: number;
  expect_status: string[];
  labels: Record<string, string>;
  source: string;
  created_at: string;
  state: State;
  last_check: LastCheck | null;
}

export interface Check extends LastCheck {
  outcome: Outcome;
  /** Which assertion failed and what was seen, where that is the cause. */
  detail?: string;
  phases: { dns_ms: number | null; connect_ms: number | null; first_byte_ms: number | null } | null;
}

export interface TargetDetail extends Target {
  since: string | null;
  windows: NamedWindow[];
  last_checks: Check[];
}

export interface SummaryPoint {
  at: string;
  up: number;
  degraded: number;
  down: number;
  missed: number;
  unknown: number;
  failure_percentage: number | null;
}

export interface Summary extends Measure {
  window: Span & { step_seconds: number };
  targets: number;
  series: SummaryPoint[];
}

export interface System {
  version: string;
  schema: { version: number; expected: number };
  targets: number;
  checks_per_second: number;
  newest_check: string | null;
  rolled_up_until: string | null;
  lists_differ: boolean;
  shards_held: number;
  lease_epochs: number;
  readers: Reader[];
  workers: {
    id: string;
    state: "running" | "stopped" | "gone";
    version: string;
    started_at: string;
    seen_at: string;
    shards: number;
    lag_ms: number;
    missed: number;
    unknown: number;
    in_flight: number;
    queue_depth: number;
    spool_depth: number;
    /** Whether results can go to its disk. */
    spool_usable: boolean;
    own_network: "ok" | "gone";
    /** Since when its own network or name server is gone; null while they are there. */
    offline_since: string | null;
    /** What is wrong with its newest configuration, while the last good one is in use. */
    config_error: string | null;
  }[];
}

/** A target in the table: a page of fifty, in the order that was asked for. */
export interface TableRow {
  key: string;
  name: string;
  url: string;
  /** Its label `group`, else its host. */
  group: string;
  state: State;
  cause: string | null;
  code: number | null;
  elapsed_ms: number | null;
  checked_at: string | null;
  failed_5m: Failed;
  failed_1h: Failed | null;
  interval_ms: number;
  labels: Record<string, string>;
}

export interface TablePage {
  as_of: string;
  /** Of all targets; of those that fit. */
  total: number;
  found: number;
  page: number;
  pages: number;
  page_size: number;
  rows: TableRow[];
}

/** One character a target, in the order of the table by group. */
export interface TargetMap {
  as_of: string;
  groups: { name: string; n: number }[];
  cells: string;
}

export interface Day {
  date: string;
  up: number;
  degraded: number;
  down: number;
  missed: number;
  unknown: number;
  uptime_percentage: number | null;
  coverage_percentage: number | null;
  incidents: number;
  incident_minutes: number;
}

export interface Latency {
  window: Span;
  /** May be before the window begins. */
  first_step_at: string;
  step_seconds: number;
  p50_ms: (number | null)[];
  p95_ms: (number | null)[];
  p50_ms_all: number | null;
  p95_ms_all: number | null;
  max_ms: number | null;
}

export interface RowChange {
  put: Record<string, unknown>[];
  gone: string[];
}

export type Frame =
  | { type: "snapshot"; view: string; key?: string; query?: TableQuery; seq: number; resync?: true; data: unknown }
  | {
      type: "delta";
      view: string;
      key?: string;
      query?: TableQuery;
      seq: number;
      base: number;
      set: Record<string, unknown>;
      rows: Record<string, RowChange>;
    }
  | { type: "stale" }
  | { type: "error"; code: string; message: string };
