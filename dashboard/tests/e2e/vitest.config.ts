import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: [process.env.SCREENSHOTS ? "tests/e2e/screenshots.ts" : "tests/e2e/*.e2e.ts"],
    environment: "node",
    // One browser, one lookout: one after the other.
    fileParallelism: false,
    testTimeout: 40_000,
    hookTimeout: 90_000,
  },
});
