/** Draws the cells of the map: whole, or those that changed. A colour repeats what size and shape say. */

import { blockOf, CELLS, type Layout } from "../map";

/** Sharper than this nobody sees, and some browsers refuse canvases of many pixels. */
const MOST_PIXELS = 12_000_000;

export const ratioFor = (width: number, height: number): number =>
  Math.max(1, Math.min(devicePixelRatio || 1, Math.sqrt(MOST_PIXELS / Math.max(1, width * height))));

const colour = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** What is up is small, so that the rest stands out. `size` is in pixels of the screen. */
function shape(context: CanvasRenderingContext2D, is: string, size: number): void {
  const middle = size / 2;
  context.fillStyle = context.strokeStyle = colour(`--${is}`);
  context.lineWidth = Math.max(1, size / 9);
  context.beginPath();
  if (is === "down") context.rect(size * 0.08, size * 0.08, size * 0.84, size * 0.84);
  else if (is === "degraded") {
    context.moveTo(middle, size * 0.06);
    context.lineTo(size * 0.96, size * 0.92);
    context.lineTo(size * 0.04, size * 0.92);
  } else context.arc(middle, middle, size * (is === "up" ? 0.25 : is === "unknown" ? 0.3 : 0.36), 0, 2 * Math.PI);
  if (is === "unknown" || is === "shaky") context.stroke();
  else context.fill();
  if (is !== "shaky") return;
  context.beginPath();
  context.arc(middle, middle, size * 0.36, Math.PI / 2, 1.5 * Math.PI);
  context.fill();
}

function sprites(size: number): ImageData[] {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = size;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) return [];
  return CELLS.map(({ is }) => {
    context.clearRect(0, 0, size, size);
    shape(context, is, size);
    return context.getImageData(0, 0, size, size);
  });
}

function fitting(context: CanvasRenderingContext2D, name: string, width: number): string {
  if (context.measureText(name).width <= width) return name;
  let kept = name.length;
  while (kept > 1 && context.measureText(`${name.slice(0, kept)}…`).width > width) kept -= 1;
  return `${name.slice(0, kept)}…`;
}

export interface Painter {
  /** Those that changed only. */
  repaint: (cells: string, which: number[]) => void;
}

/** Draws everything once, in one piece: fifty thousand calls would take fifty times as long. */
export function paint(canvas: HTMLCanvasElement, map: Layout, width: number, cells: string): Painter | null {
  const context = canvas.getContext("2d");
  if (!context || width === 0 || map.height === 0) return null;
  const size = Math.max(3, Math.round(map.cell * ratioFor(width, map.height)));
  const ratio = size / map.cell;
  canvas.width = Math.ceil(width * ratio);
  canvas.height = Math.ceil(map.height * ratio);
  canvas.style.width = `${canvas.width / ratio}px`;
  canvas.style.height = `${canvas.height / ratio}px`;
  const shapes = sprites(size);
  const pixels = shapes.map((one) => new Uint32Array(one.data.buffer));
  const whole = context.createImageData(canvas.width, canvas.height);
  const into = new Uint32Array(whole.data.buffer);
  for (const block of map.blocks) {
    const [left, top] = [Math.round(block.x * ratio), Math.round(block.y * ratio)];
    for (let i = 0; i < block.n; i += 1) {
      const from = pixels[Number(cells[block.first + i])];
      if (!from) continue;
      const x = left + (i % block.columns) * size;
      let at = (top + Math.floor(i / block.columns) * size) * canvas.width + x;
      for (let row = 0; row < from.length; row += size, at += canvas.width) {
        for (let column = 0; column < size; column += 1) into[at + column] = from[row + column] ?? 0;
      }
    }
  }
  context.putImageData(whole, 0, 0);
  context.fillStyle = colour("--text-2");
  context.font = `${12 * ratio}px system-ui, sans-serif`;
  context.textBaseline = "bottom";
  for (const { name, x, y, columns } of map.blocks) {
    if (name === "") continue;
    context.fillText(fitting(context, name, columns * size), x * ratio, (y - 1) * ratio);
  }
  return {
    repaint: (now, which) => {
      for (const i of which) {
        const block = blockOf(map, i);
        const one = shapes[Number(now[i])];
        if (!block || !one) continue;
        const at = i - block.first;
        const x = Math.round(block.x * ratio) + (at % block.columns) * size;
        context.putImageData(one, x, Math.round(block.y * ratio) + Math.floor(at / block.columns) * size);
      }
    },
  };
}
