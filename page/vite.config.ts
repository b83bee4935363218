import { defineConfig } from "vite";
import { shippedContent } from "./content/plugin.ts";

export default defineConfig({
  base: "./",
  plugins: [shippedContent()],
  build: {
    outDir: "../services/semface/gateway/static",
    emptyOutDir: true,
    target: "es2022",
    // Names without hashes: a build that changes a line changes one file. The gateway sends an ETag.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1500,
    rolldownOptions: {
      output: {
        entryFileNames: "assets/page.js",
        chunkFileNames: "assets/[name].js",
        assetFileNames: "assets/[name][extname]",
      },
    },
  },
  server: { proxy: { "/v1": { target: "http://127.0.0.1:8080", ws: true } } },
  test: { include: ["tests/**/*.test.ts"] },
} as Parameters<typeof defineConfig>[0]);
