/** Draws with uPlot; loaded when the first graph is there. Canvas has no styles: colours are read from the page's. */

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

export interface Marked {
  from: number;
  to: number;
}

export interface Drawing {
  times: number[];
  values: (number | null)[];
  /** A second, dashed line; there from the first drawing on or never. */
  above?: (number | null)[];
  /** Whether what was measured is a point each, as single checks are. */
  isDotted?: boolean;
  /** Stretches of which nothing is known. */
  holes: [number, number][];
  incidents: Marked[];
  changes: number[];
  /** Where the x axis begins and ends. */
  from: number;
  to: number;
  unit: string;
  /** The largest value of the y axis at least and, where it has one, at most. */
  least: number;
  most?: number;
}

export interface Plot {
  draw: (drawing: Drawing) => void;
  destroy: () => void;
}

const colour = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const two = (value: number): string => String(value).padStart(2, "0");

/** As exact as the stretch of time needs. */
function label(at: Date, seconds: number): string {
  if (seconds > 2 * 86_400) return `${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const minute = `${two(at.getHours())}:${two(at.getMinutes())}`;
  return seconds > 600 ? minute : `${minute}:${two(at.getSeconds())}`;
}

export function plot(into: HTMLElement, first: Drawing): Plot {
  let now = first;
  const ratio = devicePixelRatio || 1;
  const size = (): { width: number; height: number } => ({ width: into.clientWidth, height: into.clientHeight });
  const range = (): [number, number] => {
    const top = (now.above ?? now.values).reduce<number>((most, value) => Math.max(most, value ?? 0), now.least) * 1.1;
    return [0, now.most === undefined ? top : Math.min(now.most, Math.max(now.least, top))];
  };

  const behind = (u: uPlot): void => {
    const { ctx } = u;
    const { left, top, width, height } = u.bbox;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, width, height);
    ctx.clip();
    for (const { from, to } of now.incidents) {
      const x = u.valToPos(from, "x", true);
      const w = Math.max(2 * ratio, u.valToPos(to, "x", true) - x);
      ctx.fillStyle = colour("--incident");
      ctx.fillRect(x, top, w, height);
      ctx.fillStyle = colour("--down");
      ctx.fillRect(x, top, w, 3 * ratio);
    }
    ctx.strokeStyle = colour("--hatch");
    ctx.lineWidth = ratio;
    for (const [from, to] of now.holes) {
      const x = u.valToPos(from, "x", true);
      const end = u.valToPos(to, "x", true);
      ctx.save();
      ctx.beginPath();
      ctx.rect(x, top, end - x, height);
      ctx.clip();
      ctx.beginPath();
      for (let at = x - height; at < end; at += 8 * ratio) {
        ctx.moveTo(at, top + height);
        ctx.lineTo(at + height, top);
      }
      ctx.stroke();
      ctx.restore();
    }
    ctx.restore();
  };

  const before = (u: uPlot): void => {
    const { ctx } = u;
    const { left, top, width, height } = u.bbox;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour("--change");
    ctx.lineWidth = ratio;
    for (const at of now.changes) {
      const x = u.valToPos(at, "x", true);
      if (x < left || x > left + width) continue;
      ctx.setLineDash([4 * ratio, 4 * ratio]);
      ctx.beginPath();
      ctx.moveTo(x, top);
      ctx.lineTo(x, top + height);
      ctx.stroke();
      const r = 6 * ratio;
      ctx.beginPath();
      ctx.moveTo(x, top - r);
      ctx.lineTo(x + r, top);
      ctx.lineTo(x, top + r);
      ctx.lineTo(x - r, top);
      ctx.fill();
    }
    ctx.restore();
  };

  const axis: uPlot.Axis = {
    stroke: () => colour("--text-2"),
    grid: { stroke: () => colour("--line"), width: 1 },
    ticks: { stroke: () => colour("--line"), width: 1 },
    font: "12px system-ui, sans-serif",
  };
  const data = (): uPlot.AlignedData => (now.above ? [now.times, now.values, now.above] : [now.times, now.values]);
  const u = new uPlot(
    {
      ...size(),
      padding: [10, 12, 0, 0],
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, y: false },
      scales: { x: { range: () => [now.from, now.to] }, y: { range } },
      axes: [
        // The clock of the page, twenty-four hours a day.
        {
          ...axis,
          space: 70,
          values: (_, splits) => splits.map((at) => label(new Date(at * 1000), now.to - now.from)),
        },
        { ...axis, size: 66, values: (_, splits) => splits.map((value) => `${value} ${now.unit}`) },
      ],
      series: [
        {},
        {
          // What failed is in the colour of failures and in steps; what was measured is a point each.
          stroke: () => colour(first.unit === "%" ? "--series" : "--link"),
          fill: () => (first.unit === "%" ? colour("--series-fill") : "transparent"),
          width: first.isDotted === true ? 1 : 2,
          points: { show: first.isDotted === true, size: 5 },
          ...(first.unit === "%" ? { paths: uPlot.paths.stepped?.({ align: -1 }) } : {}),
        },
        ...(first.above ? [{ stroke: () => colour("--text"), width: 1, dash: [5, 3], points: { show: false } }] : []),
      ],
      hooks: { drawClear: [behind], draw: [before] },
    },
    data(),
    into,
  );

  const resized = new ResizeObserver(() => {
    if (into.clientWidth > 0) u.setSize(size());
  });
  resized.observe(into);
  return {
    draw(drawing) {
      now = drawing;
      u.setData(data());
    },
    destroy() {
      resized.disconnect();
      u.destroy();
    },
  };
}
