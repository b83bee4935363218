// The page: tabs, the state of the service, and the key where one is asked for.
import "./style.css";
import * as api from "./api";
import { fill, make } from "./dom";
import { compareTab } from "./tabs/compare";
import { enrolledTab } from "./tabs/enrolled";
import { liveTab } from "./tabs/live";
import { modelsTab } from "./tabs/models";
import { photographTab } from "./tabs/photograph";
import { systemTab } from "./tabs/system";

interface Tab {
  name: string;
  title: string;
  build: () => HTMLElement | { element: HTMLElement; enter?: () => void; leave?: () => void };
}
const TABS: Tab[] = [
  { name: "photograph", title: "Photograph", build: photographTab },
  { name: "live", title: "Live", build: liveTab },
  { name: "enrolled", title: "Enrolled", build: enrolledTab },
  { name: "compare", title: "Compare", build: compareTab },
  { name: "models", title: "Models", build: modelsTab },
  { name: "system", title: "System", build: systemTab },
];
const PROBE_MILLISECONDS = { ready: 10_000, away: 2_000 };

type Built = { panel: HTMLElement; enter?: () => void; leave?: () => void };
const built = new Map<string, Built>();
let current: Tab | undefined;

const list = make("div", { class: "tabs", role: "tablist", "aria-label": "What to see" });
const main = make("main", { id: "main", tabindex: -1 });
const buttons = TABS.map((tab, place) => {
  const button = make("button", { type: "button", role: "tab", id: `tab-${tab.name}`, "aria-controls": `panel-${tab.name}`, "aria-selected": "false", tabindex: -1, onclick: () => open(tab) }, tab.title);
  button.addEventListener("keydown", ({ key }) => {
    const next = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: TABS.length - 1 }[key];
    if (next === undefined) return;
    const target = (next + TABS.length) % TABS.length;
    open(TABS[target]!);
    buttons[target]!.focus();
  });
  return button;
});
list.append(...buttons);

function open(tab: Tab): void {
  if (tab === current) return;
  if (current) {
    built.get(current.name)!.panel.hidden = true;
    built.get(current.name)!.leave?.();
  }
  current = tab;
  buttons.forEach((button, place) => {
    const selected = TABS[place] === tab;
    button.setAttribute("aria-selected", String(selected));
    button.tabIndex = selected ? 0 : -1;
  });
  if (!built.has(tab.name)) {
    const made = tab.build();
    const { element, enter, leave } = made instanceof HTMLElement ? { element: made, enter: undefined, leave: undefined } : { enter: undefined, leave: undefined, ...made };
    const panel = make("div", { role: "tabpanel", id: `panel-${tab.name}`, "aria-labelledby": `tab-${tab.name}` }, element);
    main.append(panel);
    built.set(tab.name, { panel, enter, leave });
  }
  built.get(tab.name)!.panel.hidden = false;
  built.get(tab.name)!.enter?.();
  if (location.hash !== `#${tab.name}`) history.replaceState(null, "", `#${tab.name}`);
}

const status = make("p", { class: "status", role: "status" });
const banner = make("div", { class: "banner", role: "alert", hidden: true });
const keyForm = make("form", { class: "key", hidden: true, onsubmit: (event: Event) => {
  event.preventDefault();
  api.setKey(keyInput.value);
  keyForm.hidden = true;
  void askedForKey();
} });
const keyInput = make("input", { type: "password", id: "key", autocomplete: "off" });
keyForm.append(make("label", { class: "field", for: "key" }, make("span", {}, "API key, kept in this page's memory only"), keyInput), make("button", {}, "Use it"));

/** Asks for the cheapest thing that needs a key, so that a key is asked for before anything fails. */
async function askedForKey(): Promise<void> {
  await api.blendshapes().catch((error: unknown) => {
    if (error instanceof Error && "details" in error && (error.details as { status: number }).status === 401) keyForm.hidden = false;
  });
}

let wasAway = false;
async function watch(): Promise<void> {
  let ready: api.Readiness | undefined;
  try {
    ready = await api.readiness();
  } catch {
    ready = undefined;
  }
  const away = !ready?.ready;
  status.className = `status ${away ? "down" : "up"}`;
  fill(status, make("span", { class: `dot ${away ? "down" : "up"}`, "aria-hidden": "true" }), ready ? (ready.ready ? "ready" : "starting") : "away");
  banner.hidden = !away;
  if (away) fill(banner, ready ? "A service is not ready yet. The page goes on by itself as soon as it is." : "The gateway cannot be reached. Is `semface up` running? The page goes on by itself when it is back.");
  // What a tab shows may be of before the restart.
  if (wasAway && !away && current) built.get(current.name)?.enter?.();
  wasAway = away;
  setTimeout(() => void watch(), away ? PROBE_MILLISECONDS.away : PROBE_MILLISECONDS.ready);
}

document.body.append(
  make("a", { class: "skip", href: "#main", onclick: (event: Event) => {
    event.preventDefault();
    main.focus();
  } }, "Skip to the content"),
  make("header", {}, make("div", { class: "title" }, make("h1", {}, "semface"), make("p", {}, "A face travels as a few hundred bits of meaning, not as pixels."), status), list, keyForm, banner),
  main,
  make("footer", {}, make("p", {}, "There is no liveness check. A bitstream with identity is face data: protect it as such. ", make("a", { href: "./docs" }, "API documentation"))),
);
open(TABS.find(({ name }) => location.hash === `#${name}`) ?? TABS[0]!);
window.addEventListener("hashchange", () => open(TABS.find(({ name }) => location.hash === `#${name}`) ?? TABS[0]!));
void watch();
void askedForKey();
