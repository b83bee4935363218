// A small list of subjects: enrol, verify, identify, erase. Pictures of them live in this page's memory only.
import * as api from "../api";
import { scoreChart, scoreWords } from "../charts";
import { chooser } from "../chooser";
import { fill, make } from "../dom";
import { explain } from "../problems";
import { onRemembered, remembered, remember, thumbnails } from "../shared";

const POINTS: [string, string][] = [
  ["far_1e-2", "accepts 1 in 100 strangers"],
  ["far_1e-3", "accepts 1 in 1,000 strangers"],
  ["accuracy", "decides most pairs rightly"],
];

export function enrolledTab(): { element: HTMLElement; enter: () => void } {
  const message = make("p", { class: "message", role: "status" });
  const probe = make("div", { class: "probe" });
  const list = make("ul", { class: "subjects" });
  const result = make("div", { class: "result", "aria-live": "polite" });
  const id = make("input", { id: "subject-id", type: "text", pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]{0,127}", required: true, autocomplete: "off", placeholder: "visitor-17" });
  const point = make("select", { id: "operating-point" }, ...POINTS.map(([name, text]) => make("option", { value: name }, `${name}: ${text}`)));

  function say(text: string, wrong = false): void {
    message.textContent = text;
    message.className = wrong ? "message error" : "message";
  }
  async function attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      say(explain(error), true);
    }
  }
  function face(): Uint8Array<ArrayBuffer> {
    const last = remembered();
    if (!last) throw new Error("There is no face yet. Choose a photograph above");
    return last.frame;
  }

  async function showProbe(): Promise<void> {
    const last = remembered();
    if (!last) return fill(probe, make("span", { class: "mark", "aria-hidden": "true" }), make("span", {}, "no face chosen"));
    const url = URL.createObjectURL(await api.drawing(last.frame, 128));
    fill(probe, make("img", { src: url, alt: "The face, drawn from its bitstream", width: 96, height: 96 }),
      make("span", {}, `${last.name}: ${8 * last.frame.length} bits`));
  }

  async function reload(): Promise<void> {
    const subjects = await api.subjects();
    fill(list, ...subjects.sort((one, other) => other.enrolled_at - one.enrolled_at).map(row));
    if (!subjects.length) fill(list, make("li", { class: "hint" }, "Nobody is enrolled."));
  }

  function row(subject: api.Subject): HTMLElement {
    const name = subject.subject;
    const thumbnail = thumbnails.get(name);
    const eraser = make("button", { type: "button", class: "danger", onclick: () => {
      // The second click erases; leaving the button takes it back.
      if (eraser.dataset.sure) return void attempt(async () => {
        await api.erase(name);
        thumbnails.delete(name);
        fill(result);
        say("Erased.");
        await reload();
      });
      eraser.dataset.sure = "yes";
      eraser.textContent = "Really erase";
    }, onblur: () => {
      delete eraser.dataset.sure;
      eraser.textContent = "Erase";
    } }, "Erase");
    return make("li", {},
      thumbnail ? make("img", { src: thumbnail, alt: "", width: 56, height: 56 }) : make("span", { class: "mark", "aria-hidden": "true" }),
      make("div", { class: "who" }, make("strong", {}, name),
        make("span", { class: "hint" }, `enrolled ${new Date(1000 * subject.enrolled_at).toLocaleString()}`)),
      make("button", { type: "button", "aria-label": `Verify against ${name}`, onclick: () => void attempt(async () => {
        const found = await api.verify(name, face(), point.value);
        fill(result, make("h3", {}, `Is it ${name}?`), scoreWords(found.score, found.threshold, found.matched), scoreChart(found.score, found.threshold));
        say("Verified.");
      }) }, "Verify"), eraser);
  }

  const enrol = make("form", { class: "controls", onsubmit: (event: Event) => {
    event.preventDefault();
    void attempt(async () => {
      const frame = face();
      const done = await api.enroll(id.value.trim(), frame);
      thumbnails.set(done.subject, URL.createObjectURL(await api.drawing(frame, 128)));
      say(done.created ? "Enrolled. Only an embedding of 512 numbers is kept, encrypted." : "Enrolled anew, in place of before.");
      await reload();
    });
  } }, make("label", { class: "field", for: "subject-id" }, make("span", {}, "Subject id, says nothing of the person"), id), make("button", { class: "primary" }, "Enrol this face"));

  const identify = make("button", { type: "button", class: "primary", onclick: () => void attempt(async () => {
    const found = await api.identify(face(), point.value);
    const best = found.candidates[0];
    fill(result, make("h3", {}, "Who is it?"),
      make("ol", { class: "candidates" }, ...found.candidates.map(({ subject, score }) => make("li", {}, make("strong", {}, subject), ` score ${score.toFixed(3)}`))),
      best ? scoreChart(best.score, found.threshold) : make("p", { class: "verdict no" }, make("strong", {}, "Nobody"), ` reaches the threshold of ${found.threshold.toFixed(3)} among ${found.compared} enrolled.`));
    say(best ? `${found.candidates.length} of ${found.compared} enrolled reach the threshold.` : "Nobody was recognised.");
  }) }, "Identify");

  onRemembered(() => void attempt(showProbe));
  const element = make("section", { class: "enrolled-tab" },
    make("div", { class: "two" },
      make("div", { class: "panel" }, make("h2", {}, "The face"),
        chooser("enrolled", (file) => void attempt(async () => {
          say("Encoding …");
          remember({ frame: await api.encodePhotograph(file), name: "the photograph" });
          say("This face can be enrolled, verified or identified.");
        })), probe, enrol,
        make("div", { class: "controls" }, make("label", { class: "field", for: "operating-point" }, make("span", {}, "Threshold"), point), identify),
        message, make("p", { class: "hint" }, "There is no liveness check: a photograph of a photograph passes.")),
      make("div", { class: "panel" }, make("h2", {}, "Enrolled"), list, result)));
  return { element, enter: () => void attempt(async () => {
    await Promise.all([showProbe(), reload()]);
  }) };
}
