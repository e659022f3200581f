/** Made-up data of any number of targets, the same at each start: no chance in what a test sees. */

import type {
  Attention, Check, Day, Group, Incident, IncidentDetail, Latency, NamedWindow, Overview, State, Summary, System, TablePage, TableRow,
  TargetDetail, TargetMap, TargetRow,
} from "../../src/model";
import type { TableQuery } from "../../src/table";

/** From 0 to 1, as if by chance: data that repeats itself would be sent in fewer bytes than any real. */
const noise = (i: number, of: number): number => {
  const mixed = Math.imul((i + 1) ^ Math.imul(of + 7, 0x9e3779b1), 0x85ebca6b);
  return (Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35) >>> 0) / 2 ** 32;
};
const before = (at: Date, secondsAgo: number): string => new Date(at.getTime() - secondsAgo * 1000).toISOString();
const stateOf = (i: number): State => (i % 97 === 3 ? "down" : i % 41 === 7 ? "degraded" : i % 211 === 11 ? "unknown" : "up");
const perGroup = (n: number): number => (n > 500 ? n / 200 : 25);
const groupOf = (i: number, n: number): string => `shop-${String(Math.floor(i / perGroup(n))).padStart(3, "0")}.example.org`;
export const keyOf = (i: number): string => `target-${String(i).padStart(5, "0")}`;

/** `turn` grows with time: with it some rows change. */
function rowOf(i: number, n: number, at: Date, turn: number): TableRow {
  const own = noise(i, Math.floor((turn + i) / 10));
  const state = stateOf(i);
  const bad = state === "down" ? 17 : i % 53 === 5 ? 1 : 0;
  return {
    key: keyOf(i),
    name: `https://${groupOf(i, n)}/${["cart", "checkout", "search", "login"][i % 4]}/${String(i).padStart(5, "0")}`,
    url: `https://${groupOf(i, n)}/${["cart", "checkout", "search", "login"][i % 4]}/${String(i).padStart(5, "0")}`,
    group: groupOf(i, n),
    state,
    cause: state === "down" ? (i % 2 === 0 ? "timeout" : "status") : null,
    code: state === "down" ? (i % 2 === 0 ? null : 503) : state === "unknown" ? null : 200,
    elapsed_ms: state === "unknown" ? null : Math.round(own * own * 400_000) / 1000 + 4,
    checked_at: before(at, own * 10),
    failed_5m: { bad, total: 30 },
    failed_1h: { bad: bad * 3 + (i % 17 === 2 ? 1 : 0), total: 360 },
    interval_ms: 10_000,
    labels: { team: ["shop", "pay", "search"][i % 3] ?? "shop" },
  };
}

const toRow = ({ key, name, state, failed_5m, failed_1h, code, elapsed_ms, checked_at }: TableRow): TargetRow => ({
  key, name, state, failed_5m, failed_1h: failed_1h ?? { bad: 0, total: 0 }, code, elapsed_ms, checked_at,
});

function windowOf(n: number, name: string, seconds: number, at: Date, turn: number): NamedWindow {
  const due = Math.round((n * seconds) / 10) + turn;
  const missed = Math.round(due * 0.01);
  const verdicts = due - missed;
  const down = Math.round(verdicts * 0.04);
  const refused = Math.round(down / 2);
  const c404 = Math.round(down / 6);
  return {
    name,
    from: before(at, seconds),
    to: before(at, 0),
    seconds,
    source: "rows",
    counts: { up: verdicts - down, degraded: 0, down, missed, unknown: 0, verdicts, due },
    no_response: { dns: 0, refused, timeout: 0, reset: 0, tls: 0, protocol: 0 },
    status_classes: { "1xx": 0, "2xx": verdicts - down, "3xx": 0, "4xx": c404, "5xx": down - refused - c404 },
    status_codes: { "200": verdicts - down, "404": c404, "500": down - refused - c404 },
    failure_percentage: verdicts === 0 ? null : (down / verdicts) * 100,
    coverage_percentage: due === 0 ? null : (verdicts / due) * 100,
  };
}

const WINDOWS = [["1m", 60], ["5m", 300], ["15m", 900], ["1h", 3600], ["24h", 86_400]] as const;
const windowsOf = (n: number, at: Date, turn: number): NamedWindow[] => WINDOWS.map(([name, length]) => windowOf(n, name, length, at, turn));

const change = (at: Date): { service: string; commit: string; author: string; at: string; source: string } => ({
  service: "pay", commit: "6d0080aaecbf", author: "a@example.org", at: before(at, 1080), source: "api",
});
const incidentOf = (at: Date): Incident => ({
  id: 7,
  service: "pay",
  verb: "GET",
  resource: "/pay",
  target: keyOf(3),
  started_at: before(at, 900),
  ended_at: null,
  duration_seconds: null,
  objective: 0.9,
  window_seconds: 300,
  good: 26,
  total: 30,
  break: { commit: "6d0080aaecbf", author: "a@example.org", at: before(at, 1080) },
  fix: null,
});

export function overview(n: number, at: Date = new Date(), turn = 0): Overview {
  const counts = { targets: n, up: 0, degraded: 0, down: 0, unknown: 0 };
  const bad: number[] = [];
  for (let i = 0; i < n; i += 1) {
    counts[stateOf(i)] += 1;
    if (stateOf(i) === "down") bad.push(i);
  }
  const groups: Group[] = Array.from({ length: 200 }, (_, g) => {
    const group: Group = { name: groupOf(g * perGroup(n), n), n: n / 200, up: 0, degraded: 0, down: 0, unknown: 0, failed_5m: { bad: 0, total: 3 * n } };
    for (let i = g * perGroup(n); n > 500 && i < (g + 1) * perGroup(n); i += 1) group[stateOf(i)] += 1;
    return { ...group, failed_5m: { bad: group.down * 17, total: (30 * n) / 200 } };
  });
  const attention: Attention[] = bad.slice(0, 50).map((i) => ({
    key: keyOf(i),
    name: rowOf(i, n, at, turn).name,
    state: "down",
    since: before(at, 913 + i),
    cause: i % 2 === 0 ? "timeout" : "status",
    code: i % 2 === 0 ? null : 503,
    failed_5m: { bad: 17, total: 30 },
    incident: i === 3 ? 7 : null,
  }));
  const failure = Array.from({ length: 360 }, (_, i) => (i > 100 && i < 140 ? null : (i > 270 ? 9 : 0.3) + noise(i, 1) * (i > 270 ? 3 : 0.2)));
  return {
    as_of: before(at, 0),
    newest_check: n === 0 ? null : before(at, 1),
    counts,
    windows: windowsOf(n, at, turn),
    series: {
      from: before(at, 3600),
      to: before(at, 0),
      step_seconds: 10,
      window_seconds: 300,
      failure_percentage: n === 0 ? failure.map(() => null) : failure,
      coverage_percentage: failure.map((value, i) => (value === null ? 0 : 98 + 2 * noise(i, 2))),
    },
    attention,
    more_attention: Math.max(0, bad.length - 50),
    incidents: bad.length > 0 ? [incidentOf(at)] : [],
    open_incidents: bad.length > 0 ? 1 : 0,
    changes: n > 1 ? [change(at)] : [],
    targets: n > 500 ? null : Array.from({ length: n }, (_, i) => toRow(rowOf(i, n, at, turn))),
    groups: n > 500 ? groups : null,
    health: {
      workers_running: n === 0 ? 0 : 2,
      workers_offline: 0,
      offline_since: null,
      worst_lag_ms: 3.2,
      missed: 0,
      unknown: 0,
      queue_depth: 4,
      spool_depth: 0,
      readers: [{ name: "incidents", batches_behind: 0, lag_seconds: 0 }],
    },
  };
}

const WORST = ["down", "degraded", "unknown", "up"];
const text = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
const SORTS: Record<string, (a: TableRow, b: TableRow) => number> = {
  name: () => 0,
  group: () => 0,
  state: (a, b) => WORST.indexOf(a.state) - WORST.indexOf(b.state),
  failed: (a, b) => b.failed_5m.bad / b.failed_5m.total - a.failed_5m.bad / a.failed_5m.total,
  slow: (a, b) => (b.elapsed_ms ?? -1) - (a.elapsed_ms ?? -1),
  age: (a, b) => text(a.checked_at ?? "", b.checked_at ?? ""),
};

/** Names and groups go up with the number of the target, so the rows stand in order of both. */
export function table(n: number, { q, state, label, sort, page }: TableQuery, at: Date = new Date(), turn = 0): TablePage {
  const words = q.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (row: TableRow): boolean =>
    (state === "" || row.state === state) &&
    (label === "" || Object.entries(row.labels).some(([name, value]) => `${name}:${value}` === label)) &&
    words.every((word) => `${row.name} ${row.key}`.includes(word));
  const found = Array.from({ length: n }, (_, i) => rowOf(i, n, at, turn)).filter(fits).sort(SORTS[sort]);
  const pages = Math.max(1, Math.ceil(found.length / 50));
  const here = Math.min(page, pages);
  return {
    as_of: before(at, 0), total: n, found: found.length, page: here, pages, page_size: 50, rows: found.slice((here - 1) * 50, here * 50),
  };
}

export function map(n: number, at: Date = new Date(), turn = 0): TargetMap {
  const groups: { name: string; n: number }[] = [];
  let cells = "";
  for (let i = 0; i < n; i += 1) {
    const state = stateOf(i);
    const isShaky = state === "up" && (i % 53 === 5 || i % 1009 === turn % 1009);
    cells += isShaky ? "2" : { unknown: "0", up: "1", degraded: "3", down: "4" }[state];
    const last = groups[groups.length - 1];
    if (last?.name === groupOf(i, n)) last.n += 1;
    else groups.push({ name: groupOf(i, n), n: 1 });
  }
  return { as_of: before(at, 0), groups, cells };
}

export function target(i: number, n: number, at: Date = new Date(), turn = 0): TargetDetail {
  const row = rowOf(i, n, at, turn);
  const check = (ago: number): Check => {
    const isDown = row.state === "down" ? ago < 45 : ago === 30;
    return {
      timestamp: before(at, ago * 10 + 2),
      outcome: isDown ? "down" : ago === 12 ? "degraded" : "up",
      cause: isDown ? (ago % 3 === 0 ? "timeout" : "status") : null,
      code: isDown ? (ago % 3 === 0 ? null : 503) : 200,
      elapsed_ms: isDown && ago % 3 === 0 ? null : 12 + noise(ago, 3) * 30,
      phases: { dns_ms: ago % 10 === 0 ? 1.4 : null, connect_ms: ago % 10 === 0 ? 5.1 : null, first_byte_ms: 8 + noise(ago, 4) * 20 },
    };
  };
  const { key, name, url, labels, interval_ms, state } = row;
  return {
    key, name, url, labels, interval_ms, state,
    method: "GET",
    timeout_ms: 5_000,
    degraded_ms: 1_000,
    expect_status: ["200-299"],
    source: "file",
    created_at: before(at, 86_400 * 60),
    since: before(at, 913),
    last_check: check(0),
    windows: windowsOf(1, at, turn),
    last_checks: Array.from({ length: 50 }, (_, ago) => check(ago)),
  };
}

/** Sixty days of data after thirty without; the middle and the end were not all well. */
export function days(at: Date = new Date()): Day[] {
  return Array.from({ length: 90 }, (_, i) => {
    const isThere = i >= 30;
    const down = i === 55 ? 900 : i === 89 ? 40 : i % 17 === 4 ? 3 : 0;
    const due = isThere ? 8640 : 0;
    const missed = i === 70 ? 3000 : isThere ? 4 : 0;
    const verdicts = due - missed;
    return {
      date: before(at, (89 - i) * 86_400).slice(0, 10),
      up: isThere ? verdicts - down : 0,
      degraded: 0,
      down: isThere ? down : 0,
      missed,
      unknown: 0,
      uptime_percentage: isThere ? ((verdicts - down) / verdicts) * 100 : null,
      coverage_percentage: isThere ? (verdicts / due) * 100 : null,
      incidents: isThere && down > 30 ? 1 : 0,
      incident_minutes: isThere && down > 30 ? Math.round(down / 6) : 0,
    };
  });
}

export function latency(length: number, at: Date = new Date()): Latency {
  const p50 = Array.from({ length: 120 }, (_, i) => (i > 40 && i < 52 ? null : 14 + noise(i, 5) * 4));
  const p95 = p50.map((value, i) => (value === null ? null : value * (2 + noise(i, 6)) + (i === 90 ? 300 : 0)));
  return {
    window: { from: before(at, length), to: before(at, 0), seconds: length, source: "minute" },
    first_step_at: before(at, length),
    step_seconds: length / 120,
    p50_ms: p50,
    p95_ms: p95,
    p50_ms_all: 15.8,
    p95_ms_all: 44.1,
    max_ms: 812.4,
  };
}

export function summary(n: number, seconds: number, at: Date = new Date()): Summary {
  const points = 240;
  const step = Math.max(1, Math.round(seconds / points));
  const per = Math.max(1, Math.round((n * step) / 10));
  return {
    ...windowOf(n, "", seconds, at, 0),
    window: { from: before(at, seconds), to: before(at, 0), seconds, source: "minute", step_seconds: step },
    targets: n,
    series: Array.from({ length: points }, (_, i) => {
      const isKnown = i < 60 || i > 80;
      const down = isKnown ? Math.round(per * (i > 180 ? 0.1 : 0.004) * 2 * noise(i, 7)) : 0;
      return {
        at: before(at, (points - i) * step),
        up: isKnown ? per - down : 0,
        degraded: 0,
        down,
        missed: isKnown ? 0 : per,
        unknown: 0,
        failure_percentage: isKnown ? (down / per) * 100 : null,
      };
    }),
  };
}

export const incident = (at: Date = new Date()): IncidentDetail => ({
  ...incidentOf(at),
  failures: Array.from({ length: 8 }, (_, i) => ({ at: before(at, 980 - i * 10), cause: i % 2 === 0 ? "timeout" : "status", code: i % 2 === 0 ? null : 503, elapsed_ms: i % 2 === 0 ? 5000 : 14.2 })),
  changes: [change(at)],
});

export const changes = (n: number, at: Date = new Date()): unknown[] => (n > 1 ? [change(at)] : []);

export const system = (n: number, at: Date = new Date()): System => ({
  version: "0.1.0",
  schema: { version: 16, expected: 16 },
  targets: n,
  checks_per_second: n / 10,
  newest_check: before(at, 1),
  rolled_up_until: before(at, 1800),
  lists_differ: false,
  shards_held: 256,
  lease_epochs: 2,
  readers: [{ name: "incidents", batches_behind: 0, lag_seconds: 0.2 }],
  workers: ["a", "b"].map((id) => ({
    id: `worker-${id}`, state: "running", version: "0.1.0", started_at: before(at, 86_400), seen_at: before(at, 2), shards: 128, lag_ms: 3.2, missed: 0, unknown: 0, in_flight: 3, queue_depth: 2, spool_depth: 0, spool_usable: true, own_network: "ok", offline_since: null,
    config_error: id === "b" ? 'config.yaml:14:15: targets[3].interval: "5ms" is below the minimum 1s\nconfig.yaml:2:20: not valid YAML: unclosed quote\n    headers: {·····: "······\n                     ^' : null,
  })),
});
