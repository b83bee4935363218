// What the page says of models and figures is read from the repository's own cards and documents when it is built.
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { marked } from "marked";
import type { Plugin } from "vite";
import { readErrorRates, readRates } from "./figures.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const NAME = "virtual:shipped-content";

export function shippedContent(): Plugin {
  return {
    name: "shipped-content",
    resolveId: (id) => (id === NAME ? `\0${NAME}` : undefined),
    load(id) {
      if (id !== `\0${NAME}`) return undefined;
      const read = (path: string) => readFileSync(`${ROOT}/${path}`, "utf8");
      const cards: Record<string, string> = {};
      for (const model of readdirSync(`${ROOT}/model_repository`).sort())
        cards[model] = marked.parse(read(`model_repository/${model}/card.md`), { async: false });
      const rates = readRates(read("docs/benchmarks.md"));
      const errors = readErrorRates(read("model_repository/face_verification/card.md"));
      return `export const cards = ${JSON.stringify(cards)};
export const rates = ${JSON.stringify(rates)};
export const errorRates = ${JSON.stringify(errors)};`;
    },
  };
}
