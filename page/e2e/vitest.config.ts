import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["e2e/**/*.e2e.ts"],
    // One browser, one stack: what one test enrols another one may see, so they run in their order.
    fileParallelism: false,
    sequence: { concurrent: false },
    testTimeout: 90_000,
    hookTimeout: 180_000,
    bail: process.env.CI ? 0 : 3,
  },
});
