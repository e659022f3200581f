/** Points for graphs: failed shares that roll over time, and the stretches of which nothing is known. */

import type { Latency, RollingSeries, Summary } from "./model";

/** Times in seconds since the epoch. A null share is a hole in the line. */
export interface Points {
  times: number[];
  failed: (number | null)[];
  /** Share of slots with a verdict, where it is known. */
  coverage: (number | null)[];
  step: number;
  /** A second line, where there is one: p95 above p50. */
  above?: (number | null)[];
}

export const seconds = (moment: string): number => Date.parse(moment) / 1000;

export function ofOverview(series: RollingSeries): Points {
  const from = seconds(series.from);
  return {
    times: series.failure_percentage.map((_, i) => from + (i + 1) * series.step_seconds),
    failed: series.failure_percentage,
    coverage: series.coverage_percentage,
    step: series.step_seconds,
  };
}

/**
 * At each step the failed share of the `window` seconds that end with it. A window shorter than a
 * step is the step itself. The first window is left out: it is not whole.
 */
export function ofSummary(summary: Summary, window: number): Points {
  const step = summary.window.step_seconds;
  const steps = Math.max(1, Math.round(window / step));
  const points: Points = { times: [], failed: [], coverage: [], step };
  const end = seconds(summary.window.to);
  let bad = 0;
  let verdicts = 0;
  let due = 0;
  const add = (i: number, sign: number): void => {
    const point = summary.series[i];
    if (!point) return;
    bad += sign * point.down;
    verdicts += sign * (point.up + point.degraded + point.down);
    due += sign * (point.up + point.degraded + point.down + point.missed + point.unknown);
  };
  summary.series.forEach((point, i) => {
    add(i, 1);
    add(i - steps, -1);
    if (i < steps - 1) return;
    // The newest step is not over yet.
    points.times.push(Math.min(seconds(point.at) + step, end));
    points.failed.push(verdicts === 0 ? null : (bad / verdicts) * 100);
    points.coverage.push(due === 0 ? null : (verdicts / due) * 100);
  });
  return points;
}

/** Of what took how long; each point belongs to the end of its step. */
export function ofLatency(latency: Latency): Points {
  const from = seconds(latency.first_step_at);
  const to = seconds(latency.window.to);
  return {
    times: latency.p50_ms.map((_, i) => Math.min(from + (i + 1) * latency.step_seconds, to)),
    failed: latency.p50_ms,
    coverage: [],
    step: latency.step_seconds,
    above: latency.p95_ms,
  };
}

/** Less than this share of what was due has a verdict: then a line, if there is one, says little. */
const LEAST_COVERAGE = 50;

/** Stretches of which little or nothing is known, as `[from, to]`. */
export function holes(points: Points): [number, number][] {
  const found: [number, number][] = [];
  points.failed.forEach((value, i) => {
    const at = points.times[i];
    if (at === undefined || (value !== null && (points.coverage[i] ?? 100) >= LEAST_COVERAGE)) return;
    const last = found[found.length - 1];
    if (last && at - points.step <= last[1] + 0.001) last[1] = at;
    else found.push([at - points.step, at]);
  });
  return found;
}

/** Spans that overlap as one, so that drawing them does not make the common part darker. */
export function union(spans: { from: number; to: number }[]): { from: number; to: number }[] {
  const merged: { from: number; to: number }[] = [];
  for (const { from, to } of [...spans].sort((a, b) => a.from - b.from)) {
    const last = merged[merged.length - 1];
    if (last && from <= last.to) last.to = Math.max(last.to, to);
    else merged.push({ from, to });
  }
  return merged;
}

/** At most `most` points, so that a table stays readable: the worst of each stretch, none invented. */
export function thin(points: Points, most: number): Points {
  const every = Math.ceil(points.times.length / most);
  if (every <= 1) return points;
  const ranked = points.above ?? points.failed;
  const thinned: Points = { times: [], failed: [], coverage: [], step: points.step * every, ...(points.above ? { above: [] } : {}) };
  for (let i = 0; i < points.times.length; i += every) {
    let worst = i;
    for (let j = i; j < Math.min(i + every, points.times.length); j += 1) {
      if ((ranked[j] ?? -1) > (ranked[worst] ?? -1)) worst = j;
    }
    thinned.times.push(points.times[worst] ?? 0);
    thinned.failed.push(points.failed[worst] ?? null);
    thinned.coverage.push(points.coverage[worst] ?? null);
    thinned.above?.push(points.above?.[worst] ?? null);
  }
  return thinned;
}
