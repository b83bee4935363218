// Small drawings: bars, curves over scores, and what a stream costs over time.
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { errorRates, rates } from "virtual:shipped-content";
import { curves, density, type Normal } from "./distribution";
import { make, makeSvg } from "./dom";

export const NAMES: Record<string, string> = {
  header: "head and lengths",
  identity: "identity: shape, texture",
  expression: "expression and pose",
  illumination: "light",
};

export const count = (value: number): string => value.toLocaleString("en-US");

/** One bar made of parts, with a list that says the same in words. */
export function bitsBar(parts: Record<string, number>): HTMLElement {
  const total = Object.values(parts).reduce((sum, bits) => sum + bits, 0);
  const bar = make("div", { class: "stack", "aria-hidden": "true" });
  const legend = make("dl", { class: "legend" });
  for (const [name, bits] of Object.entries(parts)) {
    const part = make("span", { class: `part ${name}` });
    part.style.flexGrow = String(bits);
    if (bits > 0) bar.append(part);
    legend.append(
      make("div", { class: bits ? "" : "absent" }, make("dt", {}, make("i", { class: `swatch ${name}` }), NAMES[name] ?? name),
        make("dd", {}, bits ? `${count(bits)} bits` : "does not travel")),
    );
  }
  const whole = make("div", { class: "stack-whole" }, bar, legend);
  whole.dataset.total = String(total);
  return whole;
}

/** Sizes on a logarithmic scale, in bits. */
export function sizeBars(sizes: [string, number, string][]): HTMLElement {
  const most = Math.log10(Math.max(...sizes.map(([, bits]) => bits)));
  return make(
    "table",
    { class: "sizes" },
    make("caption", {}, "Size, on a logarithmic scale"),
    make("tbody", {}, ...sizes.map(([name, bits, kind]) => {
      const bar = make("span", { class: `bar ${kind}` });
      bar.style.inlineSize = `${Math.max(2, (100 * Math.log10(Math.max(bits, 1))) / most)}%`;
      return make("tr", {}, make("th", { scope: "row" }, name), make("td", { class: "track", "aria-hidden": "true" }, bar),
        make("td", { class: "figure" }, `${count(bits)} bits`));
    })),
  );
}

export class ExpressionBars {
  readonly element = make("table", { class: "expressions" }, make("caption", {}, "Expression, from the decoded numbers"));
  private readonly rows = new Map<string, { bar: HTMLElement; figure: HTMLElement; row: HTMLElement }>();
  private readonly body = make("tbody");

  constructor() {
    this.element.append(this.body);
    this.show(undefined);
  }

  show(confidences: Record<string, number> | undefined): void {
    this.element.classList.toggle("empty", !confidences);
    const all = confidences ?? Object.fromEntries(
      ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"].map((name) => [name, 0]),
    );
    const leading = confidences && Object.entries(all).reduce((best, one) => (one[1] > best[1] ? one : best))[0];
    for (const [name, confidence] of Object.entries(all)) {
      let parts = this.rows.get(name);
      if (!parts) {
        const bar = make("span", { class: "bar" });
        const figure = make("td", { class: "figure" });
        const row = make("tr", {}, make("th", { scope: "row" }, name), make("td", { class: "track", "aria-hidden": "true" }, bar), figure);
        parts = { bar, figure, row };
        this.rows.set(name, parts);
        this.body.append(row);
      }
      parts.bar.style.inlineSize = `${100 * confidence}%`;
      parts.figure.textContent = confidences ? `${(100 * confidence).toFixed(1)} %` : "–";
      parts.row.classList.toggle("leading", name === leading);
    }
    this.element.dataset.leading = leading || "";
  }
}

/** What is drawn: a little beyond 1, so that a mark there is whole. */
const SCORES = Array.from({ length: 145 }, (_, step) => -0.4 + step * 0.01);

/** A score and its threshold among the scores of pairs of one person and of different people. */
export function scoreChart(score: number, threshold: number, quality = "medium"): HTMLElement {
  const { same, different } = curves(errorRates, quality);
  const width = 320, height = 110, base = 88;
  const x = (value: number) => ((value + 0.4) / 1.44) * width;
  const most = Math.max(density(same, same.mean), density(different, different.mean));
  const area = (curve: Normal) =>
    `M0,${base} ${SCORES.map((value) => `L${x(value).toFixed(1)},${(base - (78 * density(curve, value)) / most).toFixed(1)}`).join(" ")} L${width},${base} Z`;
  const mark = Math.max(-0.4, Math.min(1, score));
  const svg = makeSvg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, class: "scores", role: "img" },
    makeSvg("title", {}, `Score ${score.toFixed(3)}, threshold ${threshold.toFixed(3)}`),
    makeSvg("path", { d: area(different), class: "different" }),
    makeSvg("path", { d: area(same), class: "same" }),
    makeSvg("line", { x1: 0, x2: width, y1: base, y2: base, class: "axis" }),
    makeSvg("line", { x1: x(threshold), x2: x(threshold), y1: 4, y2: base, class: "threshold" }),
    makeSvg("line", { x1: x(mark), x2: x(mark), y1: 14, y2: base, class: "score" }),
    makeSvg("circle", { cx: x(mark), cy: 14, r: 5, class: "score" }),
    ...[0, 0.5, 1].map((value) => makeSvg("text", { x: x(value), y: 104, "text-anchor": "middle" }, String(value))),
  );
  return make("figure", { class: "score-chart" }, svg as unknown as HTMLElement,
    make("figcaption", {}, make("i", { class: "swatch different" }), "different people ", make("i", { class: "swatch same" }),
      "one person ", make("i", { class: "swatch threshold" }), `threshold ${threshold.toFixed(3)}. `,
      "Normal curves through the error rates on the network's card."));
}

export function scoreWords(score: number, threshold: number, matched: boolean): HTMLElement {
  const verdict = matched ? "Same person" : "Not the same person";
  return make("p", { class: `verdict ${matched ? "yes" : "no"}` }, make("strong", {}, verdict),
    ` score ${score.toFixed(3)}, threshold ${threshold.toFixed(3)}`);
}

const colour = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function axes(labels: [string, string]): uPlot.Axis[] {
  return labels.map((label) => ({
    label,
    stroke: () => colour("--muted"),
    grid: { stroke: () => colour("--line"), width: 1 },
    ticks: { stroke: () => colour("--line") },
    labelSize: 22,
    size: 46,
    font: "12px system-ui",
    labelFont: "12px system-ui",
  }));
}

/** Keeps a plot as wide as the element it lies in. */
function fitted(host: HTMLElement, height: number, build: (width: number) => uPlot): { plot: uPlot } {
  const held = { plot: build(host.clientWidth || 300) };
  new ResizeObserver(() => {
    if (host.clientWidth) held.plot.setSize({ width: host.clientWidth, height });
  }).observe(host);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => held.plot.redraw());
  return held;
}

/** Bits of each frame as points, and kbit/s over the last second as a line. */
export class StreamChart {
  readonly element = make("div", { class: "plot", role: "img", "aria-label": "Bits of each frame, and kilobits a second, over time" });
  private held: { plot: uPlot } | undefined;
  private readonly times: number[] = [];
  private readonly keys: (number | null)[] = [];
  private readonly predicted: (number | null)[] = [];
  private readonly rate: number[] = [];
  private lastDrawn = 0;

  /** Adds a frame; `seconds` since the stream began. Returns kbit/s over the last second. */
  add(seconds: number, bits: number, key: boolean): number {
    this.times.push(seconds);
    this.keys.push(key ? bits : null);
    this.predicted.push(key ? null : bits);
    let recent = 0;
    for (let place = this.times.length - 1; place >= 0 && this.times[place]! > seconds - 1; place--)
      recent += this.keys[place] ?? this.predicted[place] ?? 0;
    this.rate.push(recent / 1000);
    while (this.times[0]! < seconds - 30) for (const series of [this.times, this.keys, this.predicted, this.rate]) series.shift();
    if (performance.now() - this.lastDrawn > 250) this.draw();
    return recent / 1000;
  }

  clear(): void {
    for (const series of [this.times, this.keys, this.predicted, this.rate]) series.length = 0;
    this.draw();
  }

  private draw(): void {
    this.lastDrawn = performance.now();
    const data: uPlot.AlignedData = [[...this.times], [...this.keys], [...this.predicted], [...this.rate]];
    if (this.held) return this.held.plot.setData(data);
    const points = (name: string, label: string): uPlot.Series => ({
      label, stroke: () => colour(name), paths: () => null, points: { show: true, size: 6, fill: () => colour(name) },
    });
    const [time, bits] = axes(["seconds", "bits of a frame"]);
    const right = { ...axes(["", "kbit/s"])[1]!, scale: "rate", side: 1, grid: { show: false } };
    this.held = fitted(this.element, 200, (width) => new uPlot({
      width, height: 200, legend: { show: true }, cursor: { show: false },
      scales: { x: { time: false }, y: { range: (_, __, most) => [0, Math.max(100, most * 1.1)] }, rate: { range: (_, __, most) => [0, Math.max(2, most * 1.2)] } },
      axes: [time!, bits!, right],
      series: [{}, points("--identity", "key frame"), points("--expression", "predicted frame"),
        { label: "kbit/s", scale: "rate", stroke: () => colour("--accent"), width: 2, points: { show: false } }],
    }, data, this.element));
  }
}

/** Accuracy against bits, from the published figures. */
export function ratePlot(): HTMLElement {
  const host = make("div", { class: "plot", role: "img", "aria-label": "Verification accuracy against bits; the table below holds the figures" });
  const series: [string, string, typeof rates.ours][] = [
    ["semface, people unseen (ships)", "--accent", rates.ours],
    ["semface, LFW folds (other networks)", "--expression", rates.folds],
    ["the paper, its own data", "--identity", rates.paper],
    ["VVC, then a recogniser", "--muted", rates.vvc],
    ["HEVC, then a recogniser", "--illumination", rates.hevc],
  ];
  const all = [...new Set(series.flatMap(([, , points]) => points.map(({ bits }) => bits)))].sort((one, other) => one - other);
  const data = [all, ...series.map(([, , points]) => all.map((bits) => {
    const point = points.find((one) => one.bits === bits);
    return point ? 100 * point.accuracy : null;
  }))] as uPlot.AlignedData;
  queueMicrotask(() => fitted(host, 300, (width) => new uPlot({
    width, height: 300, cursor: { show: false },
    scales: { x: { time: false, distr: 3 }, y: { range: [60, 100] } },
    axes: [{ ...axes(["bits of one face (logarithmic)", ""])[0]!, values: (_, splits) => splits.map((bits) => (bits ? count(bits) : "")) }, axes(["", "accuracy, %"])[1]!],
    series: [{}, ...series.map(([label, name]) => ({ label, stroke: () => colour(name), width: 2, spanGaps: true, points: { show: true, size: 7, fill: () => colour(name) } }))],
  }, data, host)));
  const table = make("table", { class: "figures" }, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "system"), make("th", { scope: "col" }, "bits: accuracy"))),
    make("tbody", {}, ...series.map(([label, , points]) => make("tr", {}, make("th", { scope: "row" }, label),
      make("td", {}, points.map(({ bits, accuracy }) => `${count(bits)}: ${(100 * accuracy).toFixed(1)} %`).join(" · "))))));
  return make("div", {}, host, make("details", {}, make("summary", {}, "The figures as a table"), table));
}
