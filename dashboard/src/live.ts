/**
 * Keeps one view current: by WebSocket, and by polling while there is none.
 *
 * The socket comes back after a random pause that grows from half a second to thirty. After two
 * failures the view is polled every ten seconds, and the socket is still tried. Frames are not
 * drawn one by one: `onState` is called at most once per turn of `paint`, with the newest state.
 */

import type { Frame } from "./model";
import { apply, type Held } from "./sequence";
import type { TableQuery } from "./table";

export type Mode = "connecting" | "live" | "reconnecting" | "polling";

export type View = { subscribe: "overview" } | { subscribe: "target"; key: string } | ({ subscribe: "table" } & TableQuery);

/** Two views with one name are the same. */
export function nameOf(view: View): string {
  if (view.subscribe === "overview") return "overview";
  if (view.subscribe === "target") return `target:${view.key}`;
  return `table:${JSON.stringify([view.q, view.state, view.label, view.sort, view.page])}`;
}

/** Why there is no answer; `status` 0 means that nobody answered. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    message: string,
  ) {
    super(message);
  }
}

export interface Polled {
  /** Null when the state is the one whose tag was sent. */
  data: Record<string, unknown> | null;
  etag: string | null;
}

export interface Surroundings {
  socket: () => WebSocket;
  poll: (view: View, etag: string | null) => Promise<Polled>;
  onState: (view: View, data: Record<string, unknown>) => void;
  onMode: (mode: Mode, isStale: boolean) => void;
  onProblem: (problem: Problem | null) => void;
  /** Calls back when it is time to draw; not while nobody looks. */
  paint: (draw: () => void) => void;
  random?: () => number;
}

/** A line that is silent for so long is dead: the server sends a frame every second. */
const SILENCE_MS = 5_000;
const POLL_MS = 10_000;
/** The server takes twenty messages in ten seconds; whoever types and turns pages has time for the last of them. */
const SPAN_MS = 10_000;
const MOST_IN_SPAN = 15;
const LEAST_PAUSE_MS = 500;
const MOST_PAUSE_MS = 30_000;
const FAILURES_BEFORE_POLLING = 2;

/** Full jitter: anything up to the bound, which doubles with each failure. */
export function pause(failures: number, random: number): number {
  const bound = Math.min(MOST_PAUSE_MS, LEAST_PAUSE_MS * 2 ** failures);
  return LEAST_PAUSE_MS + random * (bound - LEAST_PAUSE_MS);
}

export class Live {
  private view: View;
  private held = new Map<string, Held>();
  private etag: string | null = null;
  private socket: WebSocket | null = null;
  private failures = 0;
  private mode: Mode = "connecting";
  private isStale = false;
  private isClosed = false;
  private isPainting = false;
  private waiting: Record<string, unknown> | null = null;
  private silence: ReturnType<typeof setTimeout> | undefined;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private nextPoll: ReturnType<typeof setTimeout> | undefined;
  private later: ReturnType<typeof setTimeout> | undefined;
  /** When the newest messages were sent. */
  private sent: number[] = [];

  constructor(
    private readonly around: Surroundings,
    view: View,
  ) {
    this.view = view;
    this.connect();
  }

  /** Another view over the same socket. */
  show(view: View): void {
    if (nameOf(view) === this.name) return;
    this.view = view;
    this.etag = null;
    this.waiting = null;
    // Of targets and tables that are not looked at any more nothing is kept.
    for (const name of this.held.keys()) if (name !== "overview") this.held.delete(name);
    this.around.onProblem(null);
    if (this.socket?.readyState === 1) this.subscribe();
    else void this.poll();
  }

  close(): void {
    this.isClosed = true;
    clearTimeout(this.silence);
    clearTimeout(this.retry);
    clearTimeout(this.nextPoll);
    clearTimeout(this.later);
    this.socket?.close();
  }

  private get name(): string {
    return nameOf(this.view);
  }

  private connect(): void {
    if (this.isClosed) return;
    const socket = this.around.socket();
    this.socket = socket;
    this.sent = [];
    let isOver = false;
    const end = (): void => {
      if (isOver) return;
      isOver = true;
      clearTimeout(this.silence);
      if (this.socket === socket) this.lost();
    };
    const listen = (): void => {
      clearTimeout(this.silence);
      this.silence = setTimeout(() => {
        end();
        socket.close();
      }, SILENCE_MS);
    };
    listen();
    socket.onopen = () => {
      listen();
      this.subscribe();
    };
    socket.onmessage = (event: MessageEvent<string>) => {
      if (isOver) return;
      listen();
      this.take(JSON.parse(event.data) as Frame);
    };
    socket.onerror = end;
    socket.onclose = end;
  }

  private subscribe(fresh = false): void {
    const now = Date.now();
    this.sent = this.sent.filter((at) => now - at < SPAN_MS);
    clearTimeout(this.later);
    if (this.sent.length >= MOST_IN_SPAN) {
      this.later = setTimeout(() => this.subscribe(fresh), SPAN_MS - (now - (this.sent[0] ?? now)));
      return;
    }
    this.sent.push(now);
    const held = this.held.get(this.name);
    const since = held && !fresh ? { since: held.seq } : {};
    this.socket?.send(JSON.stringify({ ...this.view, ...since }));
  }

  private take(frame: Frame): void {
    if (frame.type === "stale") {
      this.become(this.mode, true);
      return;
    }
    if (frame.type === "error") {
      if (frame.code === "not_found") this.around.onProblem(new Problem(404, "Not found", frame.message));
      if (frame.code === "bad_parameter") this.around.onProblem(new Problem(400, "Nothing can be asked like that", frame.message));
      return;
    }
    const name = nameOf({ ...frame.query, subscribe: frame.view, key: frame.key } as View);
    // A frame of the view before this one may still be under way.
    if (name !== this.name) return;
    let next: Held | null;
    if (frame.type === "snapshot") next = { seq: frame.seq, data: frame.data as Record<string, unknown> };
    else next = apply(this.held.get(name) ?? null, frame);
    if (next === null) {
      this.held.delete(name);
      this.subscribe(true);
      return;
    }
    this.held.set(name, next);
    this.failures = 0;
    clearTimeout(this.nextPoll);
    this.become("live");
    this.showSoon(next.data);
  }

  private lost(): void {
    this.socket = null;
    if (this.isClosed) return;
    this.failures += 1;
    const isPolling = this.failures >= FAILURES_BEFORE_POLLING;
    this.become(isPolling ? "polling" : "reconnecting");
    const random = (this.around.random ?? Math.random)();
    this.retry = setTimeout(() => this.connect(), pause(this.failures, random));
    // The first failure asks at once too: it may be the token that is missing.
    if (this.failures <= FAILURES_BEFORE_POLLING) void this.poll();
  }

  private async poll(): Promise<void> {
    clearTimeout(this.nextPoll);
    const view = this.view;
    try {
      const { data, etag } = await this.around.poll(view, this.etag);
      if (this.isClosed || view !== this.view || this.mode === "live") return;
      if (data !== null) {
        this.etag = etag;
        // What is polled has no number, so the socket starts anew.
        this.held.delete(this.name);
        this.showSoon(data);
      }
      this.around.onProblem(null);
      this.become(this.mode, false);
    } catch (error) {
      if (this.isClosed || view !== this.view || this.mode === "live") return;
      const problem = error instanceof Problem ? error : new Problem(0, "No answer", String(error));
      this.around.onProblem(problem);
      this.become(this.mode, true);
    }
    if (this.mode === "polling") this.nextPoll = setTimeout(() => void this.poll(), POLL_MS);
  }

  private become(mode: Mode, isStale = mode === "live" ? false : this.isStale): void {
    if (mode === this.mode && isStale === this.isStale) return;
    this.mode = mode;
    this.isStale = isStale;
    this.around.onMode(mode, isStale);
  }

  private showSoon(data: Record<string, unknown>): void {
    this.waiting = data;
    if (this.isPainting) return;
    this.isPainting = true;
    this.around.paint(() => {
      this.isPainting = false;
      if (this.isClosed || this.waiting === null) return;
      const newest = this.waiting;
      this.waiting = null;
      this.around.onProblem(null);
      this.around.onState(this.view, newest);
    });
  }
}
