/** Asks the api. Where reading needs a token, it is asked for once and kept as long as the tab. */

import { createSignal } from "solid-js";
import { Problem, type Polled, type View } from "./live";
import { tablePath } from "./table";

const KEPT_AS = "lookout-token";

export const [token, setTokenSignal] = createSignal<string | null>(sessionStorage.getItem(KEPT_AS));
/** Set by a 401: the page asks for a token. */
export const [needsToken, setNeedsToken] = createSignal(false);

export function setToken(value: string): void {
  sessionStorage.setItem(KEPT_AS, value);
  setTokenSignal(value);
  setNeedsToken(false);
}

/**
 * The subprotocols to offer with a socket. A browser sets no headers of one, so the token is among
 * them, in base64url; the server chooses the other.
 */
export function protocols(given: string | null): string[] {
  if (given === null) return ["lookout.v1"];
  const bytes = String.fromCharCode(...new TextEncoder().encode(given));
  const name = btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return ["lookout.v1", `lookout.bearer.${name}`];
}

const PATIENCE_MS = 10_000;

async function ask(path: string, headers: Record<string, string> = {}): Promise<Response> {
  const given = token();
  if (given !== null) headers.authorization = `Bearer ${given}`;
  let response: Response;
  try {
    response = await fetch(path, { headers, signal: AbortSignal.timeout(PATIENCE_MS), cache: "no-store" });
  } catch {
    throw new Problem(0, "lookout does not answer", "The api cannot be reached. This page keeps trying.");
  }
  if (response.ok || response.status === 304) return response;
  if (response.status === 401) setNeedsToken(true);
  const problem = (await response.json().catch(() => ({}))) as { title?: string; detail?: string };
  throw new Problem(response.status, problem.title ?? `HTTP ${response.status}`, problem.detail ?? "");
}

/** Answers nothing new while the state is the one with this tag. */
export async function get(path: string, etag: string | null): Promise<Polled> {
  const response = await ask(path, etag === null ? {} : { "if-none-match": etag });
  if (response.status === 304) return { data: null, etag };
  return { data: (await response.json()) as Record<string, unknown>, etag: response.headers.get("etag") };
}

const pathOf = (view: View): string => {
  if (view.subscribe === "overview") return "/api/v1/overview";
  return view.subscribe === "target" ? `/api/v1/targets/${encodeURIComponent(view.key)}` : tablePath(view);
};

export const poll = (view: View, etag: string | null): Promise<Polled> => get(pathOf(view), etag);
