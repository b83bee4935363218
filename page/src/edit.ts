// Sliders that move expression and pose of the received face, by ARKit's names.
import { make } from "./dom";
import type { Groups } from "./api";
import { edited } from "./morph";

const SECTIONS: [string, RegExp][] = [
  ["Brows", /^brow/],
  ["Eyes", /^eye(?!Look)/],
  ["Jaw", /^jaw/],
  ["Mouth", /^mouth/],
  ["Cheeks and nose", /^(cheek|nose)/],
];
const TURNS: [string, string, number][] = [
  ["pitch", "down", 40],
  ["yaw", "to their left", 60],
  ["roll", "tilted", 40],
];

const words = (name: string): string => name.replace(/([A-Z])/g, " $1").toLowerCase();

export class Editor {
  readonly element: HTMLElement;
  private readonly offsets: Record<string, number> = {};
  private readonly inputs: HTMLInputElement[] = [];
  private names: Record<string, number[]> = {};
  private readonly changed: () => void;

  constructor(changed: () => void) {
    this.changed = changed;
    this.element = make("details", { class: "editor panel" },
      make("summary", {}, make("h3", {}, "Edit the received face")),
      make("p", { class: "hint" }, "What arrived is numbers, so it can be changed: each slider adds to what was received. Names are ARKit's."));
  }

  get active(): boolean {
    return Object.values(this.offsets).some((value) => value !== 0);
  }

  fill(names: Record<string, number[]>): void {
    if (this.inputs.length) return;
    this.names = names;
    const reset = make("button", { type: "button", onclick: () => this.reset() }, "Back to what was received");
    const section = (title: string, ...rows: HTMLElement[]) => make("fieldset", {}, make("legend", {}, title), ...rows);
    this.element.append(
      reset,
      section("Pose", ...TURNS.map(([name, , most]) => this.slider(name, name, -most, most, 1, "°"))),
      ...SECTIONS.map(([title, pattern]) => section(title, ...Object.keys(names)
        .filter((name) => pattern.test(name))
        .map((name) => this.slider(name, words(name), -1, 1, 0.05, "")))),
    );
  }

  apply(groups: Groups): Groups {
    if (!this.active) return groups;
    const received = { expression: groups.expression ?? [], rotation: groups.rotation ?? [] };
    return { ...groups, ...edited(received, this.offsets, this.names) };
  }

  reset(): void {
    for (const input of this.inputs) input.value = "0";
    for (const input of this.inputs) (input.nextElementSibling as HTMLElement).textContent = "0";
    for (const name of Object.keys(this.offsets)) delete this.offsets[name];
    this.changed();
  }

  private slider(name: string, label: string, min: number, max: number, step: number, unit: string): HTMLElement {
    const output = make("output", {}, "0");
    const input = make("input", { type: "range", min, max, step, value: 0, name, oninput: () => {
      this.offsets[name] = Number(input.value);
      output.textContent = `${input.value}${unit}`;
      this.changed();
    } });
    this.inputs.push(input);
    return make("label", { class: "slider" }, make("span", {}, label), input, output);
  }
}
