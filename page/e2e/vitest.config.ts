import { defineConfig } from "vitest/config";

/** How many times as long as on a free machine to wait: for a busy one. */
const patience = Number(process.env.PAGE_PATIENCE ?? 1);

export default defineConfig({
  test: {
    include: ["e2e/**/*.e2e.ts"],
    // One browser, one stack: what one test enrols another one may see, so they run in their order.
    fileParallelism: false,
    sequence: { concurrent: false },
    testTimeout: 90_000 * patience,
    hookTimeout: 180_000 * patience,
  },
});
