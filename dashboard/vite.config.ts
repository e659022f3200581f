import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import type { Plugin } from "vite";
import solid from "vite-plugin-solid";
import { defineConfig } from "vitest/config";

/** Names in `dist` are hashed and old ones would pile up; its `.gitkeep` is part of the repository. */
function clean(directory: string): Plugin {
  return {
    name: "clean",
    apply: "build",
    buildStart() {
      mkdirSync(directory, { recursive: true });
      for (const name of readdirSync(directory)) {
        if (name !== ".gitkeep") rmSync(join(directory, name), { recursive: true });
      }
    },
  };
}

/** Compresses once what the api would otherwise compress at each request. */
function precompress(directory: string): Plugin {
  const each = (path: string): void => {
    if (statSync(path).isDirectory()) {
      for (const name of readdirSync(path)) each(join(path, name));
    } else if (/\.(html|js|css|svg)$/.test(path)) {
      const plain = readFileSync(path);
      const text = { [constants.BROTLI_PARAM_MODE]: constants.BROTLI_MODE_TEXT };
      writeFileSync(`${path}.br`, brotliCompressSync(plain, { params: text }));
      writeFileSync(`${path}.gz`, gzipSync(plain, { level: 9 }));
    }
  };
  return { name: "precompress", apply: "build", closeBundle: () => each(directory) };
}

const dist = join(import.meta.dirname, "dist");
const api = process.env.LOOKOUT_API ?? "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [solid(), clean(dist), precompress(dist)],
  build: {
    outDir: dist,
    emptyOutDir: false,
    target: "es2022",
    // Inline code would need an exception in the content policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy: { "/api": { target: api, ws: true, changeOrigin: true } } },
  test: { include: ["tests/*.test.ts"], environment: "node" },
});
