// A photograph by drop, by file, or the demonstration's.
import portrait from "./portrait.jpg";
import { make } from "./dom";

export async function demonstration(): Promise<Blob> {
  return (await fetch(portrait)).blob();
}

export function chooser(name: string, taken: (photograph: Blob) => void): HTMLElement {
  const input = make("input", { type: "file", accept: "image/jpeg,image/png,image/webp", class: "visually-hidden", id: `file-${name}`, onchange: () => {
    const file = input.files?.[0];
    if (file) taken(file);
    input.value = "";
  } });
  const zone = make("div", { class: "chooser" },
    input,
    make("label", { class: "button", for: `file-${name}` }, "Choose a photograph"),
    make("button", { type: "button", onclick: () => void demonstration().then(taken) }, "Demonstration"),
    make("span", { class: "hint" }, "or drop one here"));
  const over = (on: boolean) => (event: Event) => {
    event.preventDefault();
    zone.classList.toggle("over", on);
  };
  zone.addEventListener("dragover", over(true));
  zone.addEventListener("dragleave", over(false));
  zone.addEventListener("drop", (event) => {
    over(false)(event);
    const file = event.dataTransfer?.files[0];
    if (file) taken(file);
  });
  return zone;
}
