// One photograph: its faces, the decoded head, what travels, and what it says.
import * as api from "../api";
import { outline, PORTIONS } from "../bitstream";
import { bitsBar, count, ExpressionBars, scoreChart, scoreWords, sizeBars } from "../charts";
import { fill, make, settled } from "../dom";
import { Editor } from "../edit";
import { HeadView } from "../head";
import { explain } from "../problems";
import { chooser } from "../chooser";
import { remember, QUALITIES } from "../shared";

const FINEST = QUALITIES.length - 1;

export function photographTab(): HTMLElement {
  const message = make("p", { class: "message", role: "status" });
  const picture = make("canvas", { class: "photograph", role: "img", "aria-label": "The photograph, with its faces boxed" });
  const faceChoice = make("div", { class: "faces", role: "group", "aria-label": "Which face" });
  const view = new HeadView("The decoded face in three dimensions");
  const bits = make("div", {});
  const headline = make("p", { class: "headline", "aria-live": "polite" }, "Choose a photograph to see what is sent.");
  const sizes = make("div", {});
  const bars = new ExpressionBars();
  const score = make("div", { class: "score" });
  const editor = new Editor(() => redraw());
  const save = make("div", { class: "actions" });

  let photograph: Blob | undefined;
  let pixels: ImageBitmap | undefined;
  let analysis: api.Analysis | undefined;
  let chosen = 0;
  let finest: Uint8Array<ArrayBuffer> | undefined;
  let frame: Uint8Array<ArrayBuffer> | undefined;
  let smallest = 0;
  let received: api.Groups = {};
  let running: AbortController | undefined;

  const quality = make("input", { type: "range", min: 0, max: FINEST, step: 1, value: 2, id: "quality", oninput: () => changed() });
  const qualityName = make("output", { for: "quality" }, "medium");
  const switches = [...PORTIONS].reverse().map((name) => {
    const input = make("input", { type: "checkbox", role: "switch", name, checked: true, onchange: () => changed() });
    return { name, input };
  });

  const recode = settled(60, () => void code());
  function changed(): void {
    qualityName.textContent = QUALITIES[Number(quality.value)]!;
    recode();
  }

  async function take(file: Blob): Promise<void> {
    fill(message, "Looking for faces …");
    message.className = "message busy";
    try {
      api.photographType(file);
      pixels = await createImageBitmap(file, { imageOrientation: "from-image" }).catch(() => undefined);
      analysis = await api.analyze(file);
      photograph = file;
      chosen = analysis.faces.reduce((best, face) => (size(face) > size(analysis!.faces[best]!) ? face.id : best), 0);
      await choose(chosen);
    } catch (error) {
      message.className = "message error";
      fill(message, explain(error));
    }
  }

  async function choose(face: number): Promise<void> {
    if (!analysis) return;
    chosen = face;
    drawPicture();
    fill(faceChoice, ...(analysis.faces.length > 1 ? analysis.faces : []).map(({ id }) =>
      make("button", { type: "button", "aria-pressed": String(id === chosen), onclick: () => void choose(id) }, `Face ${id + 1}`)));
    smallest = await smallestJpeg(pixels, analysis.faces[chosen]!.square);
    finest = undefined;
    editor.reset();
    await code();
  }

  function drawPicture(): void {
    if (!analysis) return;
    picture.width = analysis.width;
    picture.height = analysis.height;
    const context = picture.getContext("2d")!;
    if (pixels) context.drawImage(pixels, 0, 0, analysis.width, analysis.height);
    const style = getComputedStyle(document.documentElement);
    context.lineWidth = Math.max(2, analysis.width / 200);
    for (const { id, box, quality } of analysis.faces) {
      context.strokeStyle = style.getPropertyValue(id === chosen ? "--accent" : "--muted");
      context.setLineDash(quality < analysis.minimum_quality ? [8, 6] : []);
      context.strokeRect(box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0);
    }
  }

  async function code(): Promise<void> {
    const face = analysis?.faces[chosen];
    if (!face || !photograph) return;
    running?.abort();
    running = new AbortController();
    const { signal } = running;
    const portions = switches.filter(({ input }) => input.checked).map(({ name }) => name);
    if (portions.length === 0) {
      message.className = "message error";
      fill(message, "Nothing would travel. Switch at least one group on.");
      return;
    }
    try {
      finest ??= await api.encode(face.descriptors, FINEST, ["identity"], signal);
      frame = await api.encode(face.descriptors, Number(quality.value), portions, signal);
      showBits(frame);
      const [decoded] = await Promise.all([
        api.decode(frame, signal),
        portions.includes("identity") ? showScore(frame, finest, signal) : Promise.resolve(void fill(score, make("p", { class: "hint" }, "Without identity nobody can be verified."))),
      ]);
      received = decoded.descriptors;
      await show(signal);
      const good = face.quality >= analysis!.minimum_quality;
      message.className = good ? "message" : "message error";
      fill(message, good ? `${analysis!.faces.length === 1 ? "One face" : `${analysis!.faces.length} faces`} found, quality ${face.quality.toFixed(2)}.`
        : "This face is too small, blurred or turned away for a decision. Choose a better one.");
      if (portions.includes("identity")) remember({ frame, name: "the face of the photograph" });
      fill(save, download("Bitstream", () => new Blob([frame!], { type: api.BITSTREAM }), "face.semface"),
        download("Mesh (glTF)", async () => new Blob([await api.mesh(editor.apply(received), false)]), "face.glb"));
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") return;
      message.className = "message error";
      fill(message, explain(error));
    }
  }

  function showBits(coded: Uint8Array): void {
    const { bits: total, headerBits, payloadBits } = outline(coded);
    fill(bits, bitsBar({ identity: payloadBits.identity, expression: payloadBits.expression, illumination: payloadBits.illumination, header: headerBits }));
    const ratio = Math.round((8 * photograph!.size) / total);
    fill(headline, make("strong", {}, `${count(total)} bits`), ` carry this face: 1/${count(ratio)} of the photograph.`);
    fill(sizes, sizeBars([
      ["photograph as sent", 8 * photograph!.size, "photograph"],
      ...(smallest ? [["smallest JPEG of the face", 8 * smallest, "jpeg"] as [string, number, string]] : []),
      ["semface", total, "semface"],
    ]));
    view.canvas.dataset.bits = String(total);
  }

  async function showScore(coded: Uint8Array<ArrayBuffer>, reference: Uint8Array<ArrayBuffer>, signal: AbortSignal): Promise<void> {
    const found = await api.compare(coded, reference, signal);
    fill(score, make("h3", {}, "Verification"), scoreWords(found.score, found.threshold, found.matched),
      scoreChart(found.score, found.threshold, QUALITIES[Number(quality.value)]),
      make("p", { class: "hint" }, "Compared with the same face coded as finely as it goes. Enrol it to compare it with others."));
  }

  /** Draws what was received, with what was edited, and asks for the expression of it. */
  async function show(signal?: AbortSignal): Promise<void> {
    const groups = editor.apply(received);
    await view.show(groups, signal);
    const { expression, rotation, translation } = groups;
    bars.show(expression && rotation && translation
      ? (await api.expression({ expression, rotation, translation }, signal)).confidences : undefined);
  }
  const reshow = settled(80, () => void show().catch((error: unknown) => fill(message, explain(error))));
  function redraw(): void {
    if (!received.rotation && !received.shape) return;
    void view.show(editor.apply(received)).catch(() => undefined);
    reshow();
  }

  editor.element.addEventListener("toggle", () => void api.blendshapes().then((names) => editor.fill(names)).catch((error: unknown) => fill(message, explain(error))), { once: true });

  return make("section", { class: "photograph-tab" },
    make("div", { class: "stage" },
      make("div", { class: "panel sender" }, make("h2", {}, "Sent"), chooser("photograph", (file) => void take(file)), picture, faceChoice, message),
      make("div", { class: "panel receiver" }, make("h2", {}, "Received"), view.canvas,
        make("p", { class: "hint" }, "Drawn from the decoded numbers alone. Move the pointer over it, or use the arrow keys."), save)),
    make("div", { class: "panel stream" }, headline,
      make("div", { class: "controls" },
        make("label", { class: "slider", for: "quality" }, make("span", {}, "Quality"), quality, qualityName),
        make("fieldset", { class: "switches" }, make("legend", {}, "Groups that travel"),
          ...switches.map(({ name, input }) => make("label", {}, input, make("span", {}, name === "illumination" ? "light" : name))))),
      make("div", { class: "two" }, bits, sizes)),
    make("div", { class: "two" }, make("div", { class: "panel" }, bars.element), make("div", { class: "panel" }, score)),
    editor.element,
  );
}

const size = ({ box }: api.AnalyzedFace): number => Math.max(box.x1 - box.x0, box.y1 - box.y0);

/** Bytes of the smallest JPEG that this browser makes of the face's square, its pixels unchanged. */
async function smallestJpeg(pixels: ImageBitmap | undefined, square: api.AnalyzedFace["square"]): Promise<number> {
  if (!pixels) return 0;
  const side = Math.max(1, Math.round(square.side));
  const canvas = make("canvas", { width: side, height: side });
  canvas.getContext("2d")!.drawImage(pixels, square.x0, square.y0, square.side, square.side, 0, 0, side, side);
  return new Promise((done) => canvas.toBlob((blob) => done(blob?.size ?? 0), "image/jpeg", 0));
}

function download(label: string, content: () => Blob | Promise<Blob>, name: string): HTMLElement {
  return make("button", { type: "button", class: "quiet", onclick: async () => {
    const url = URL.createObjectURL(await content());
    make("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  } }, `Save: ${label}`);
}
