/** Numbers, shares and moments as people read them. */

import type { Measure, State } from "./model";

export const MARKS: Record<string, string> = { up: "●", shaky: "◐", degraded: "▲", down: "■", unknown: "◌", missed: "◌" };

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
export const count = (value: number): string => whole.format(value);

/** Percent with as many decimals as say something; never a rounded 0 or 100 that is not one. */
export function percent(value: number | null): string {
  if (value === null) return "–";
  if (value === 0 || value === 100) return `${value} %`;
  if (value < 0.1) return "< 0.1 %";
  if (value > 99.9) return "> 99.9 %";
  return `${value.toFixed(1)} %`;
}

/** `1 of 2 (50 %)`: a share of few says of how few. */
export function share(bad: number, total: number, few = 100): string {
  if (total === 0) return "no verdict";
  if (bad === 0 && total < few) return `0 of ${count(total)}`;
  const text = percent((bad / total) * 100);
  return total < few ? `${count(bad)} of ${count(total)} (${text})` : text;
}

export function milliseconds(value: number | null): string {
  if (value === null) return "–";
  if (value >= 10_000) return `${(value / 1000).toFixed(1)} s`;
  return value >= 10 ? `${whole.format(value)} ms` : `${value.toFixed(1)} ms`;
}

/** A name on little room: what all URLs begin with says nothing. */
export const short = (name: string): string => name.replace(/^https?:\/\//, "");

/** A setting as people write it. */
export const period = (ms: number): string => (ms % 1000 === 0 ? duration(ms / 1000) : `${ms} ms`);

/** A stretch of time in its two largest units. */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return s % 60 === 0 || s >= 600 ? `${Math.floor(s / 60)} min` : `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86_400) {
    const minutes = Math.floor((s % 3600) / 60);
    return minutes === 0 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 3600)} h ${minutes} min`;
  }
  const hours = Math.floor((s % 86_400) / 3600);
  return hours === 0 ? `${Math.floor(s / 86_400)} d` : `${Math.floor(s / 86_400)} d ${hours} h`;
}

const two = (value: number): string => String(value).padStart(2, "0");

/** The local time of day; with the date when it is of another day than `now`. */
export function clock(at: Date, now: Date): string {
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return at.toDateString() === now.toDateString() ? time : `${day(at)} ${time}`;
}

export const day = (at: Date): string => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;

export const utc = (at: Date): string => `${at.toISOString().slice(0, 19).replace("T", " ")} UTC`;

/** The columns of the window table. The three of them and `other` add up to `total`. */
export interface Columns {
  noResponse: number;
  /** Of 500 and 200 alone; null where only classes of status codes are known. */
  c500: number | null;
  c200: number | null;
  other: number;
  total: number;
  /** What `other` and `no response` are made of, the most frequent first. */
  others: [string, number][];
  causes: [string, number][];
}

const sum = (counts: Record<string, number>): number => Object.values(counts).reduce((all, one) => all + one, 0);
const present = (counts: Record<string, number>): [string, number][] =>
  Object.entries(counts)
    .filter(([, n]) => n > 0)
    .sort((a, b) => b[1] - a[1]);

export function columns(measure: Measure): Columns {
  const { no_response, status_codes, status_classes, counts } = measure;
  const noResponse = sum(no_response);
  const total = counts.verdicts;
  const causes = present(no_response);
  if (status_codes) {
    const { "200": c200 = 0, "500": c500 = 0, ...rest } = status_codes;
    const others = present(rest);
    // A redirect without end, for one, is down with neither a code nor one of those causes.
    const unnamed = total - noResponse - c200 - c500 - sum(rest);
    if (unnamed > 0) others.push(["without a code", unnamed]);
    return { noResponse, c500, c200, other: total - noResponse - c200 - c500, total, others, causes };
  }
  const others = present(status_classes);
  const unnamed = total - noResponse - sum(status_classes);
  if (unnamed > 0) others.push(["without a code", unnamed]);
  return { noResponse, c500: null, c200: null, other: Math.max(0, total - noResponse), total, others, causes };
}

const WORST = ["down", "degraded", "unknown", "up"];
export const worstFirst = (a: State, b: State): number => WORST.indexOf(a) - WORST.indexOf(b);

/** “18 up, 1 degraded, 1 down”; states that nobody is in are left out. */
export function sentence(counts: { up: number; degraded: number; down: number; unknown: number }): string {
  const parts = (["up", "degraded", "down", "unknown"] as const).filter((state) => counts[state] > 0);
  return parts.map((state) => `${count(counts[state])} ${state}`).join(", ");
}

/** The value below which this share of the values lies; null of none. */
export function quantile(values: number[], q: number): number | null {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)] ?? null;
}
