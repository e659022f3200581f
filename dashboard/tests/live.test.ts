import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Live, pause, Problem, type Polled, type View } from "../src/live";

/** A socket that a test holds the other end of. */
class Socket {
  readyState = 0;
  sent: Record<string, unknown>[] = [];
  onopen: (() => void) | null = null;
  onclose: (() => void) | null = null;
  onerror: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  open(): void {
    this.readyState = 1;
    this.onopen?.();
  }
  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }
  close(): void {
    this.readyState = 3;
    this.onclose?.();
  }
  say(frame: unknown): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }
  snapshot(seq: number, data: unknown = {}): void {
    this.say({ type: "snapshot", view: "overview", seq, data });
  }
}

let sockets: Socket[];
let states: Record<string, unknown>[];
let modes: string[];
let problems: (Problem | null)[];
let draws: (() => void)[];
let answer: () => Promise<Polled>;
let live: Live;

const begin = (paintsAtOnce = true): void => {
  live = new Live(
    {
      socket: () => {
        const socket = new Socket();
        sockets.push(socket);
        return socket as unknown as WebSocket;
      },
      poll: vi.fn((_: View, __: string | null) => answer()),
      onState: (_, data) => states.push(data),
      onMode: (mode, isStale) => modes.push(isStale ? `${mode}, stale` : mode),
      onProblem: (problem) => problems.push(problem),
      paint: (draw) => (paintsAtOnce ? draw() : draws.push(draw)),
      random: () => 0,
    },
    { subscribe: "overview" },
  );
};
const newest = (): Socket => sockets[sockets.length - 1] as Socket;
const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

beforeEach(() => {
  vi.useFakeTimers();
  [sockets, states, modes, problems, draws] = [[], [], [], [], []];
  answer = () => Promise.reject(new Problem(0, "No answer", ""));
});
afterEach(() => {
  live.close();
  vi.useRealTimers();
});

test("a snapshot and its deltas are shown", () => {
  begin();
  newest().open();
  expect(newest().sent).toEqual([{ subscribe: "overview" }]);
  newest().snapshot(1, { n: 1 });
  newest().say({ type: "delta", view: "overview", seq: 2, base: 1, set: { n: 2 }, rows: {} });
  expect(states).toEqual([{ n: 1 }, { n: 2 }]);
  expect(modes).toEqual(["live"]);
});

test("a delta that does not follow asks for everything anew", () => {
  begin();
  newest().open();
  newest().snapshot(1, { n: 1 });
  newest().say({ type: "delta", view: "overview", seq: 9, base: 8, set: { n: 9 }, rows: {} });
  expect(states).toEqual([{ n: 1 }]);
  expect(newest().sent).toEqual([{ subscribe: "overview" }, { subscribe: "overview" }]);
});

test("after a break the state that is held is named, and its delta goes on from there", async () => {
  begin();
  newest().open();
  newest().snapshot(5, { n: 1 });
  newest().close();
  expect(modes).toEqual(["live", "reconnecting"]);
  await pass(500);
  newest().open();
  expect(newest().sent).toEqual([{ subscribe: "overview", since: 5 }]);
  newest().say({ type: "delta", view: "overview", seq: 6, base: 5, set: { n: 2 }, rows: {} });
  expect(states[states.length - 1]).toEqual({ n: 2 });
  expect(modes[modes.length - 1]).toBe("live");
});

test("two failures begin the polling, every ten seconds, while the socket is still tried", async () => {
  answer = () => Promise.resolve({ data: { polled: true }, etag: '"1"' });
  begin();
  newest().close();
  await pass(500);
  newest().close();
  await pass(0);
  expect(modes[modes.length - 1]).toBe("polling");
  const before = states.length;
  const tried = sockets.length;
  for (let i = 0; i < 4; i += 1) {
    await pass(10_000);
    newest().close();
  }
  expect(states.length - before).toBeGreaterThanOrEqual(3);
  expect(sockets.length).toBeGreaterThan(tried);
  await pass(30_000);
  newest().open();
  newest().snapshot(1, { n: 1 });
  expect(modes[modes.length - 1]).toBe("live");
  const shown = states.length;
  await pass(4_000);
  expect(states.length).toBe(shown);
});

test("nobody answers: what is shown is stale, until somebody does", async () => {
  begin();
  newest().open();
  newest().snapshot(1, { n: 1 });
  newest().close();
  await pass(0);
  expect(modes[modes.length - 1]).toBe("reconnecting, stale");
  await pass(500);
  newest().open();
  newest().snapshot(2, { n: 2 });
  expect(modes[modes.length - 1]).toBe("live");
  expect(problems[problems.length - 1]).toBeNull();
});

test("a line that is silent for five seconds is dead", async () => {
  begin();
  newest().open();
  newest().snapshot(1);
  await pass(4_900);
  expect(modes[modes.length - 1]).toBe("live");
  await pass(200);
  expect(modes).toContain("reconnecting");
});

test("a stale frame keeps the line and says that the data is old", async () => {
  begin();
  newest().open();
  newest().snapshot(1);
  for (let i = 0; i < 10; i += 1) {
    await pass(1_000);
    newest().say({ type: "stale" });
  }
  expect(modes).toEqual(["live", "live, stale"]);
  newest().say({ type: "delta", view: "overview", seq: 2, base: 1, set: {}, rows: {} });
  expect(modes[modes.length - 1]).toBe("live");
});

test("of states that come faster than they are drawn only the newest is", () => {
  begin(false);
  newest().open();
  for (let n = 1; n <= 50; n += 1) newest().snapshot(n, { n });
  expect(draws.length).toBe(1);
  draws[0]?.();
  expect(states).toEqual([{ n: 50 }]);
});

test("another view is asked for over the same socket, and late frames of the one before are dropped", () => {
  begin();
  newest().open();
  live.show({ subscribe: "target", key: "home" });
  newest().snapshot(1, { old: true });
  newest().say({ type: "snapshot", view: "target", key: "home", seq: 2, data: { key: "home" } });
  newest().say({ type: "error", code: "not_found", message: "no target has the key" });
  expect(newest().sent).toEqual([{ subscribe: "overview" }, { subscribe: "target", key: "home" }]);
  expect(states).toEqual([{ key: "home" }]);
  expect(problems[problems.length - 1]?.status).toBe(404);
});

test("pauses grow from half a second to thirty, at random within", () => {
  expect(pause(1, 0)).toBe(500);
  expect(pause(1, 1)).toBe(1000);
  expect(pause(30, 1)).toBe(30_000);
});

test("a table is asked for with its query, and frames of another query are not shown", () => {
  begin();
  newest().open();
  const query = { q: "a", state: "", label: "", sort: "name", page: 1 };
  live.show({ subscribe: "table", ...query });
  live.show({ subscribe: "table", ...query });
  newest().say({ type: "snapshot", view: "table", query: { ...query, page: 2 }, seq: 1, data: { page: 2 } });
  newest().say({ type: "snapshot", view: "table", query, seq: 2, data: { page: 1, rows: [{ key: "x", n: 1 }] } });
  newest().say({ type: "delta", view: "table", query, seq: 3, base: 2, set: {}, rows: { rows: { put: [{ key: "x", n: 2 }], gone: [] } } });
  expect(newest().sent).toEqual([{ subscribe: "overview" }, { subscribe: "table", ...query }]);
  expect(states[states.length - 1]).toEqual({ page: 1, rows: [{ key: "x", n: 2 }] });
});

test("whoever turns pages fast sends fewer messages than the server takes, and the last one", async () => {
  begin();
  newest().open();
  for (let page = 1; page <= 30; page += 1) {
    live.show({ subscribe: "table", q: "", state: "", label: "", sort: "name", page });
    newest().say({ type: "delta", view: "overview", seq: 1, base: 1, set: {}, rows: {} });
    await pass(100);
  }
  expect(newest().sent.length).toBeLessThanOrEqual(20);
  newest().say({ type: "stale" });
  await pass(4_000);
  newest().say({ type: "stale" });
  await pass(4_000);
  expect(newest().sent[newest().sent.length - 1]).toMatchObject({ page: 30 });
});
