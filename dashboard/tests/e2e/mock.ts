/** An api that answers what it is told: the built page, and made-up data of any number of targets. */

import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { Page } from "playwright-core";
import type { View } from "../../src/live";
import type { Overview } from "../../src/model";
import { tableQuery } from "../../src/table";
import * as made from "./data";

const dist = join(import.meta.dirname, "../../dist");
/** As `crates/api/src/assets.rs` sends it. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const TYPES: Record<string, string> = { js: "text/javascript", css: "text/css", svg: "image/svg+xml", html: "text/html" };

/** What there is at a path; undefined where nothing is. */
function answer(path: string, asked: URLSearchParams, state: Overview): unknown {
  const n = state.counts.targets;
  const [, key, part] = /^\/api\/v1\/targets\/target-(\d+)(?:\/(days|latency))?$/.exec(path) ?? [];
  if (key !== undefined) {
    if (Number(key) >= n) return undefined;
    if (part === "days") return { days: made.days() };
    return part === "latency" ? made.latency(Number.parseInt(asked.get("window") ?? "", 10)) : made.target(Number(key), n);
  }
  switch (path) {
    case "/api/v1/overview":
      return state;
    case "/api/v1/table":
      return made.table(n, tableQuery((name) => asked.get(name) ?? ""));
    case "/api/v1/map":
      return made.map(n);
    case "/api/v1/summary":
      return made.summary(asked.has("target") ? 1 : n, Number.parseInt(asked.get("window") ?? "300", 10));
    case "/api/v1/incidents":
      return { incidents: state.incidents, next: null };
    case "/api/v1/incidents/7":
      return made.incident();
    case "/api/v1/changes":
      return { changes: made.changes(n), next: null };
    case "/api/v1/system":
      return made.system(n);
    default:
      return undefined;
  }
}

export interface Mock {
  base: string;
  /** What the overview says from now on, and how many targets there are with it; null answers 503. */
  state: { overview: Overview | null; token: string | null };
  close: () => Promise<void>;
}

/** Without sockets: the page polls. */
export async function mock(first: Overview): Promise<Mock> {
  const state: Mock["state"] = { overview: first, token: null };
  const server: Server = createServer((request, response) => {
    const { pathname: path, searchParams } = new URL(request.url ?? "/", "http://mock");
    const json = (status: number, body: unknown): void => {
      const text = JSON.stringify(body);
      const etag = `"${createHash("sha1").update(text).digest("base64url")}"`;
      if (status === 200 && request.headers["if-none-match"] === etag) return void response.writeHead(304, { etag }).end();
      response.writeHead(status, { "content-type": status === 200 ? "application/json" : "application/problem+json", etag });
      response.end(text);
    };
    if (path.startsWith("/api/")) {
      if (state.token !== null && request.headers.authorization !== `Bearer ${state.token}`)
        return json(401, { title: "Token required", detail: "send a token" });
      if (state.overview === null) return json(503, { title: "Temporarily unavailable", detail: "Postgres cannot be reached" });
      const found = answer(path, searchParams, state.overview);
      return found === undefined ? json(404, { title: "Not found", detail: "there is nothing at this path" }) : json(200, found);
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

/** Pushes what a page subscribes to, four times a second, as `docs/LIVE.md` says. */
export async function push(page: Page, n: number): Promise<void> {
  await page.routeWebSocket(/\/api\/v1\/live/, (socket) => {
    let view: View | null = null;
    let turn = 0;
    const say = (type: "snapshot" | "delta"): void => {
      if (view === null) return;
      turn += 1;
      const at = new Date();
      const of = { view: view.subscribe, seq: turn };
      if (view.subscribe === "overview") {
        const { targets, groups, ...set } = made.overview(n, at, turn);
        const rows = { ...(targets ? { targets: { put: targets, gone: [] } } : {}), ...(groups ? { groups: { put: groups, gone: [] } } : {}) };
        const frame = type === "snapshot" ? { data: { ...set, targets, groups } } : { base: turn - 1, set, rows };
        socket.send(JSON.stringify({ type, ...of, ...frame }));
      } else if (view.subscribe === "target") {
        const data = made.target(Number(view.key.slice(-5)), n, at, turn);
        socket.send(JSON.stringify({ type: "snapshot", ...of, key: view.key, data }));
      } else {
        const { subscribe: _, ...query } = view;
        socket.send(JSON.stringify({ type: "snapshot", ...of, query, data: made.table(n, query, at, turn) }));
      }
    };
    socket.onMessage((message) => {
      view = JSON.parse(String(message)) as View;
      say("snapshot");
    });
    const timer = setInterval(() => say("delta"), 250);
    socket.onClose(() => clearInterval(timer));
    page.on("close", () => clearInterval(timer));
  });
}
