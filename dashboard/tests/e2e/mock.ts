/** An api that answers what it is told: the built page, and an overview of any number of targets. */

import { createServer, type Server } from "node:http";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { AddressInfo } from "node:net";
import type { Group, NamedWindow, Overview, State, TargetRow } from "../../src/model";

const dist = join(import.meta.dirname, "../../dist");
/** As `crates/api/src/assets.rs` sends it. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const TYPES: Record<string, string> = { js: "text/javascript", css: "text/css", svg: "image/svg+xml", html: "text/html" };

/** The same at each start: no chance in what a test sees. */
const stateOf = (i: number): State => (i % 97 === 3 ? "down" : i % 41 === 7 ? "degraded" : i % 211 === 11 ? "unknown" : "up");

export function overview(n: number, at: Date = new Date()): Overview {
  const moment = (secondsAgo: number): string => new Date(at.getTime() - secondsAgo * 1000).toISOString();
  const counts = { targets: n, up: 0, degraded: 0, down: 0, unknown: 0 };
  const rows: TargetRow[] = [];
  for (let i = 0; i < n; i += 1) {
    const state = stateOf(i);
    counts[state] += 1;
    if (n > 500) continue;
    const bad = state === "down" ? 17 : 0;
    rows.push({
      key: `target-${String(i).padStart(5, "0")}`,
      name: `Service ${String(i).padStart(5, "0")} of the shop`,
      state,
      failed_5m: { bad, total: 30 },
      failed_1h: { bad: bad * 3, total: 360 },
      code: state === "down" ? 503 : 200,
      elapsed_ms: 12.5 + i,
      checked_at: moment(i % 10),
    });
  }
  const bad = Array.from({ length: n }, (_, i) => i).filter((i) => stateOf(i) === "down");
  const window = (name: string, seconds: number): NamedWindow => {
    const due = Math.round((n * seconds) / 10);
    const missed = Math.round(due * 0.01);
    const verdicts = due - missed;
    const down = Math.round(verdicts * 0.04);
    const refused = Math.round(down / 2);
    const c404 = Math.round(down / 6);
    return {
      name,
      from: moment(seconds),
      to: moment(0),
      seconds,
      source: "rows",
      counts: { up: verdicts - down, degraded: 0, down, missed, unknown: 0, verdicts, due },
      no_response: { dns: 0, refused, timeout: 0, reset: 0, tls: 0, protocol: 0 },
      status_classes: { "1xx": 0, "2xx": verdicts - down, "3xx": 0, "4xx": c404, "5xx": down - refused - c404 },
      status_codes: { "200": verdicts - down, "404": c404, "500": down - refused - c404 },
      failure_percentage: verdicts === 0 ? null : (down / verdicts) * 100,
      coverage_percentage: due === 0 ? null : (verdicts / due) * 100,
    };
  };
  const groups: Group[] = Array.from({ length: 200 }, (_, i) => ({
    name: `group-${i}.example.org`,
    n: n / 200,
    up: n / 200 - (i % 9 === 0 ? 3 : 0),
    degraded: i % 9 === 0 ? 1 : 0,
    down: i % 9 === 0 ? 2 : 0,
    unknown: 0,
    failed_5m: { bad: 0, total: 100 },
  }));
  const incident = {
    id: 7,
    service: "pay",
    verb: "GET",
    resource: "/pay",
    target: "target-00003",
    started_at: moment(900),
    ended_at: null,
    duration_seconds: null,
    objective: 0.9,
    window_seconds: 300,
    good: 26,
    total: 30,
    break: { commit: "6d0080aaecbf", author: "a@example.org", at: moment(1080) },
    fix: null,
  };
  const failure = Array.from({ length: 360 }, (_, i) => (i > 100 && i < 140 ? null : i > 270 ? 9.5 + Math.sin(i / 5) * 3 : 0.4));
  return {
    as_of: moment(0),
    newest_check: n === 0 ? null : moment(1),
    counts,
    windows: [window("1m", 60), window("5m", 300), window("15m", 900), window("1h", 3600), window("24h", 86_400)],
    series: {
      from: moment(3600),
      to: moment(0),
      step_seconds: 10,
      window_seconds: 300,
      failure_percentage: n === 0 ? failure.map(() => null) : failure,
      coverage_percentage: failure.map((value) => (value === null ? 0 : 99)),
    },
    attention: bad.slice(0, 50).map((i) => ({
      key: `target-${String(i).padStart(5, "0")}`,
      name: `Service ${String(i).padStart(5, "0")} of the shop`,
      state: "down",
      since: moment(913),
      cause: "refused",
      code: null,
      failed_5m: { bad: 17, total: 30 },
      incident: i === 3 ? 7 : null,
    })),
    more_attention: Math.max(0, bad.length - 50),
    incidents: bad.length > 0 ? [incident] : [],
    open_incidents: bad.length > 0 ? 1 : 0,
    changes: n > 1 ? [{ service: "pay", commit: "6d0080aaecbf", author: "a@example.org", at: moment(1080) }] : [],
    targets: n > 500 ? null : rows,
    groups: n > 500 ? groups : null,
    health: {
      workers_running: n === 0 ? 0 : 2,
      worst_lag_ms: 3.2,
      missed: 0,
      unknown: 0,
      queue_depth: 4,
      spool_depth: 0,
      readers: [{ name: "incidents", batches_behind: 0, lag_seconds: 0 }],
    },
  };
}

export interface Mock {
  base: string;
  /** What the overview says from now on; null answers 503. */
  state: { overview: Overview | null; token: string | null };
  close: () => Promise<void>;
}

/** Without sockets: the page polls. */
export async function mock(first: Overview): Promise<Mock> {
  const state: Mock["state"] = { overview: first, token: null };
  const server: Server = createServer((request, response) => {
    const path = (request.url ?? "/").split("?")[0] ?? "/";
    const json = (status: number, body: unknown): void => {
      response.writeHead(status, { "content-type": status === 200 ? "application/json" : "application/problem+json" });
      response.end(JSON.stringify(body));
    };
    if (path.startsWith("/api/")) {
      if (state.token !== null && request.headers.authorization !== `Bearer ${state.token}`)
        return json(401, { title: "Token required", detail: "send a token" });
      if (state.overview === null) return json(503, { title: "Temporarily unavailable", detail: "Postgres cannot be reached" });
      if (path === "/api/v1/overview") return json(200, state.overview);
      if (path === "/api/v1/incidents") return json(200, { incidents: state.overview.incidents, next: null });
      if (path === "/api/v1/changes") return json(200, { changes: [], next: null });
      return json(404, { title: "Not found", detail: "there is nothing at this path" });
    }
    const file = join(dist, path);
    const isFile = path.includes(".") && existsSync(file);
    const found = isFile ? file : join(dist, "index.html");
    response.writeHead(200, {
      "content-type": TYPES[found.split(".").pop() ?? ""] ?? "text/plain",
      ...(isFile ? {} : { "content-security-policy": POLICY }),
    });
    response.end(readFileSync(found));
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  return {
    base: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    state,
    close: () =>
      new Promise((closed) => {
        server.closeAllConnections();
        server.close(() => closed());
      }),
  };
}
