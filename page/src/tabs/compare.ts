// Two photographs side by side, and what accuracy costs in bits.
import * as api from "../api";
import { ratePlot, scoreChart, scoreWords } from "../charts";
import { chooser } from "../chooser";
import { fill, make } from "../dom";
import { explain } from "../problems";

export function compareTab(): HTMLElement {
  const result = make("div", { class: "result", "aria-live": "polite" }, make("p", { class: "hint" }, "Choose two photographs: one person, or two?"));
  const frames: (Uint8Array<ArrayBuffer> | undefined)[] = [undefined, undefined];

  function side(place: number, name: string): HTMLElement {
    const picture = make("img", { class: "photograph", alt: `Photograph ${name}`, hidden: true });
    const drawn = make("img", { class: "drawn", alt: `The face of photograph ${name}, drawn from its bitstream`, hidden: true });
    const message = make("p", { class: "message", role: "status" });
    const take = async (file: Blob) => {
      try {
        fill(message, "Encoding …");
        message.className = "message";
        const frame = await api.encodePhotograph(file);
        frames[place] = frame;
        if (picture.src) URL.revokeObjectURL(picture.src);
        picture.src = URL.createObjectURL(file);
        drawn.src = URL.createObjectURL(await api.drawing(frame, 256));
        picture.hidden = drawn.hidden = false;
        fill(message, `${8 * frame.length} bits.`);
        await compare();
      } catch (error) {
        message.className = "message error";
        fill(message, explain(error));
      }
    };
    return make("div", { class: "panel" }, make("h2", {}, name), chooser(`compare-${place}`, (file) => void take(file)),
      make("div", { class: "pair" }, picture, drawn), message);
  }

  async function compare(): Promise<void> {
    const [one, other] = frames;
    if (!one || !other) return;
    const found = await api.compare(one, other);
    fill(result, scoreWords(found.score, found.threshold, found.matched), scoreChart(found.score, found.threshold));
  }

  return make("section", { class: "compare-tab" },
    make("div", { class: "two" }, side(0, "A"), side(1, "B")),
    make("div", { class: "panel" }, make("h2", {}, "One person?"), result),
    make("div", { class: "panel" }, make("h2", {}, "Accuracy against bits"),
      make("p", { class: "hint" }, "The figures of docs/benchmarks.md, which tells how each was made. Pixels are counted whole; their recogniser sees 700 pairs. The curves are not all of the same people: read them beside that page."),
      ratePlot()));
}
