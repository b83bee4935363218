// The state of the system, from what everybody may ask: readiness, metrics, and the times in this page's own answers.
import * as api from "../api";
import { count } from "../charts";
import { fill, make } from "../dom";
import { parseMetrics, routeFigures } from "../metrics";
import { explain } from "../problems";

const ENGINES: Record<string, string> = { onnxruntime: "ONNX Runtime, inside the services", triton: "Triton" };
const EVERY_MILLISECONDS = 5000;

const duration = (milliseconds: number): string =>
  !Number.isFinite(milliseconds) ? "–" : milliseconds < 1000 ? `≤ ${Math.round(milliseconds)} ms` : `≤ ${milliseconds / 1000} s`;

function median(values: number[]): number {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}

export function systemTab(): { element: HTMLElement; enter: () => void; leave: () => void } {
  const services = make("ul", { class: "services" });
  const engines = make("ul", { class: "services" });
  const rate = make("p", { class: "headline" });
  const routes = make("div", { class: "scroller", tabindex: 0, role: "region", "aria-label": "Requests by route" });
  const stages = make("div", { class: "scroller", tabindex: 0, role: "region", "aria-label": "Time by stage" });
  const message = make("p", { class: "message", role: "status" });
  let timer: ReturnType<typeof setInterval> | undefined;

  /** What runs the networks is told by the answers themselves; the models need not all run in one place. */
  async function tellEngines(): Promise<void> {
    const models = new Map<string, string[]>();
    for (const { name, engine } of await api.models()) models.set(engine ?? "", [...(models.get(engine ?? "") ?? []), name]);
    fill(engines, ...[...models].map(([engine, names]) => make("li", {}, make("strong", {}, ENGINES[engine] ?? engine), make("span", { class: "hint" }, names.join(", ")))));
  }

  const service = (name: string, serves: boolean, what: string) =>
    make("li", {}, make("span", { class: `dot ${serves ? "up" : "down"}`, "aria-hidden": "true" }), make("strong", {}, name), ` ${serves ? "serves" : "is away"}`, make("span", { class: "hint" }, what));

  async function refresh(): Promise<void> {
    try {
      const ready = await api.readiness();
      fill(services, ...Object.entries(ready.services).map(([name, serves]) => service(name, serves, serves ? "" : "its answers are refused until it is back")),
        service("store", ready.store, ready.store ? "" : "enrolment waits for Redis; all else goes on"));
      const figures = routeFigures(parseMetrics(await api.metrics()));
      const requests = figures.reduce((sum, route) => sum + route.requests, 0);
      const failed = figures.reduce((sum, route) => sum + route.failed, 0);
      fill(rate, make("strong", {}, requests ? `${((100 * failed) / requests).toFixed(2)} %` : "–"), ` of ${count(requests)} requests failed by the service's own doing (5xx), since the gateway started.`);
      fill(routes, table("Requests", ["route", "requests", "5xx", "p50", "p99"], figures.map(({ route, requests: all, failed: bad, p50, p99 }) => [route, count(all), count(bad), duration(p50), duration(p99)])));
      const names = new Map<string, number[]>();
      for (const { milliseconds } of api.recentStages) for (const [name, spent] of Object.entries(milliseconds)) names.set(name, [...(names.get(name) ?? []), spent]);
      fill(stages, names.size ? table(`Stages of this page's last ${api.recentStages.length} answers`, ["stage", "median", "most"], [...names].map(([name, spent]) => [name === "queue" ? "queue (waiting to be admitted)" : name, `${median(spent).toFixed(1)} ms`, `${Math.max(...spent).toFixed(1)} ms`])) : make("p", { class: "hint" }, "This page has asked nothing yet."));
      fill(message);
      message.className = "message";
    } catch (error) {
      message.className = "message error";
      fill(message, explain(error));
    }
  }

  const link = (href: string, text: string, what: string) => make("li", {}, make("a", { href }, text), ` ${what}`);
  const element = make("section", { class: "system-tab" }, message,
    make("div", { class: "two" },
      make("div", { class: "panel" }, make("h2", {}, "Services"), services, rate),
      make("div", { class: "panel" }, make("h2", {}, "Engines"), make("p", { class: "hint" }, "What has just run each model, for a drawing of the mean face."), engines),
      make("div", { class: "panel" }, make("h2", {}, "Further"), make("ul", { class: "links" },
        link("./docs", "API documentation", "every route, to try out"), link("./openapi.json", "OpenAPI", "for machines"),
        link("./metrics", "Metrics", "for Prometheus"), link("./readyz", "Readiness", "for a probe")))),
    make("div", { class: "panel" }, routes), make("div", { class: "panel" }, stages));
  return {
    element,
    enter: () => {
      void refresh();
      tellEngines().catch((error: unknown) => fill(engines, make("li", {}, explain(error))));
      clearInterval(timer);
      timer = setInterval(() => void refresh(), EVERY_MILLISECONDS);
    },
    leave: () => clearInterval(timer),
  };
}

function table(caption: string, head: string[], rows: string[][]): HTMLElement {
  return make("table", { class: "figures" }, make("caption", {}, caption),
    make("thead", {}, make("tr", {}, ...head.map((name) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, ...rows.map(([first, ...others]) => make("tr", {}, make("th", { scope: "row" }, first!), ...others.map((value) => make("td", {}, value))))));
}
