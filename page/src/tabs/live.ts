// The camera's frames go out through one socket; what the other socket answers is all that the receiver's half has.
import * as api from "../api";
import { count, ExpressionBars, StreamChart } from "../charts";
import { demonstration } from "../chooser";
import { fill, make, reducedMotion } from "../dom";
import { Editor } from "../edit";
import { HeadView } from "../head";
import { explain } from "../problems";
import { QUALITIES } from "../shared";
import { Channel, Rate, Socket, type Sent, type Shown } from "../stream";

const WIDTH = 320;
const HEIGHT = 240;
/** Photographs on their way at once: one is worked on while the next one travels. */
const IN_FLIGHT = 2;

type Source = { draw: (context: CanvasRenderingContext2D) => void; stop: () => void };

async function cameraSource(): Promise<Source> {
  if (!navigator.mediaDevices) throw new Error("The camera is open to this page over https or on this machine only");
  const media = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 }, audio: false });
  const video = make("video", { autoplay: true, playsinline: true, muted: true });
  video.srcObject = media;
  await video.play();
  return {
    draw: (context) => {
      const scale = Math.max(WIDTH / video.videoWidth, HEIGHT / video.videoHeight);
      const [w, h] = [video.videoWidth * scale, video.videoHeight * scale];
      context.drawImage(video, (WIDTH - w) / 2, (HEIGHT - h) / 2, w, h);
    },
    stop: () => media.getTracks().forEach((track) => track.stop()),
  };
}

/** The portrait, moved a little, for whoever has no camera. */
async function portraitSource(): Promise<Source> {
  const pixels = await createImageBitmap(await demonstration());
  return {
    draw: (context) => {
      const time = reducedMotion() ? 0 : performance.now() / 1000;
      context.save();
      context.translate(WIDTH / 2 + 12 * Math.sin(time), HEIGHT / 2 + 6 * Math.sin(1.7 * time));
      context.rotate(0.12 * Math.sin(0.8 * time));
      const side = 360 + 24 * Math.sin(0.5 * time);
      context.drawImage(pixels, -0.44 * side, -0.26 * side, side, side);
      context.restore();
    },
    stop: () => pixels.close(),
  };
}

export function liveTab(): { element: HTMLElement; leave: () => void } {
  const sentView = make("canvas", { class: "photograph", width: WIDTH, height: HEIGHT, role: "img", "aria-label": "What is sent, with the face boxed" });
  const context = sentView.getContext("2d", { willReadFrequently: true })!;
  const capture = make("canvas", { width: WIDTH, height: HEIGHT });
  const captured = capture.getContext("2d", { willReadFrequently: true })!;
  const view = new HeadView("The received face in three dimensions");
  const bars = new ExpressionBars();
  const chart = new StreamChart();
  const message = make("p", { class: "message", role: "status" }, "Nothing is sent before you start.");
  const state = make("span", { class: "badge waiting" }, "waiting");
  const figures = make("p", { class: "headline" }, "–");
  let latest: api.Groups = {};
  const editor = new Editor(() => latest.expression && view.follow(editor.apply(latest)));

  let source: Source | undefined;
  let sender: Socket | undefined;
  let receiver: Socket | undefined;
  let inFlight = 0;
  let began = 0;
  let box: api.Box | undefined;
  let lastAsked = 0;
  let shownFrames = 0;
  const rate = new Rate();
  const frames: { bits: number; key: boolean }[] = [];

  const channel = new Channel((frame) => void receiver?.send(frame));
  const loss = make("input", { type: "range", min: 0, max: 50, step: 1, value: 0, id: "loss", oninput: () => {
    channel.loss = Number(loss.value) / 100;
    lossName.textContent = `${loss.value} %`;
  } });
  const lossName = make("output", { for: "loss" }, "0 %");
  const delay = make("input", { type: "range", min: 0, max: 1000, step: 50, value: 0, id: "delay", oninput: () => {
    channel.delayMilliseconds = Number(delay.value);
    delayName.textContent = `${delay.value} ms`;
  } });
  const delayName = make("output", { for: "delay" }, "0 ms");
  const repair = make("input", { type: "checkbox", role: "switch", checked: true, name: "repair" });
  const quality = make("select", { id: "live-quality", onchange: () => restart() }, ...QUALITIES.map((name, number) =>
    make("option", { value: number, selected: name === "medium" }, name)));

  const start = make("button", { type: "button", class: "primary", onclick: () => void begin(cameraSource) }, "Start the camera");
  const portrait = make("button", { type: "button", onclick: () => void begin(portraitSource) }, "Moving portrait");
  const stop = make("button", { type: "button", disabled: true, onclick: () => end("Stopped. Nothing is sent.") }, "Stop");
  const drop = make("button", { type: "button", onclick: () => channel.dropOne() }, "Lose the next frame");
  const refresh = make("button", { type: "button", onclick: () => void sender?.send('{"refresh": true}') }, "Ask for a key frame");

  async function begin(make_: () => Promise<Source>): Promise<void> {
    end("Starting …");
    try {
      source = await make_();
    } catch (error) {
      return say(explain(error), true);
    }
    stop.disabled = false;
    began = performance.now();
    chart.clear();
    connect();
  }

  function connect(): void {
    receiver = new Socket("/v1/stream/receive");
    receiver.onText = (text) => show(JSON.parse(text) as Shown);
    receiver.onOpen = () => void sender?.send('{"refresh": true}');
    sender = new Socket(`/v1/stream/send?quality=${quality.value}`);
    let told: Sent | undefined;
    sender.onOpen = () => {
      inFlight = 0;
      say("Sending.");
      capturePhotograph();
    };
    sender.onText = (text) => {
      told = JSON.parse(text) as Sent;
      inFlight--;
      box = told.box;
      if (!told.box) say(told.faces ? "The face is too small, dark or turned away." : "No face is seen. Come closer, into better light.");
      else if (message.textContent !== "Sending.") say("Sending.");
      capturePhotograph();
    };
    sender.onBinary = (data) => {
      const frame = new Uint8Array(data);
      frames.push({ bits: 8 * frame.length, key: told?.key ?? false });
      channel.carry(frame);
    };
    for (const socket of [sender, receiver]) {
      socket.onAway = () => {
        frames.length = 0;
        say("The connection broke. It is tried again by itself …", true);
      };
      socket.onRefused = (problem) => end(explain(problem), true);
      socket.open();
    }
  }

  function capturePhotograph(): void {
    if (!source || inFlight >= IN_FLIGHT) return;
    inFlight++;
    source.draw(captured);
    draw();
    capture.toBlob((photograph) => {
      if (photograph && !sender?.send(photograph)) inFlight = 0;
    }, "image/jpeg", 0.85);
    if (inFlight < IN_FLIGHT) setTimeout(capturePhotograph, 20);
  }

  /** Shows what is sent, when it is sent: to read a camera's picture again for the eye costs as much as to send it. */
  function draw(): void {
    context.drawImage(capture, 0, 0);
    if (box) {
      context.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
      context.lineWidth = 2;
      context.strokeRect(box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0);
    }
  }

  function show(shown: Shown): void {
    const carried = frames.shift();
    const perSecond = rate.count();
    state.textContent = shown.state;
    state.className = `badge ${shown.state}`;
    const kilobits = chart.add((performance.now() - began) / 1000, shown.bits, carried?.key ?? false);
    if (shown.descriptors) {
      latest = shown.descriptors;
      view.follow(editor.apply(latest));
      bars.show(shown.expression?.confidences);
      shownFrames++;
    }
    // The receiver asks once for what it lacks; the answer takes its way through the channel too.
    if (shown.state !== "decoded" && repair.checked && performance.now() - lastAsked > 300 + channel.delayMilliseconds) {
      lastAsked = performance.now();
      sender?.send('{"refresh": true}');
    }
    fill(figures, make("strong", {}, `${kilobits.toFixed(1)} kbit/s`),
      ` · ${count(shown.bits)} bits in this frame · ${perSecond} frames/s · ${channel.lost} of ${channel.carried} lost`);
    Object.assign(view.canvas.dataset, { state: shown.state, shown: shownFrames, rate: perSecond, lost: channel.lost });
  }

  function say(text: string, wrong = false): void {
    message.textContent = text;
    message.className = wrong ? "message error" : "message";
  }

  function end(text: string, wrong = false): void {
    source?.stop();
    sender?.close();
    receiver?.close();
    source = sender = receiver = box = undefined;
    frames.length = 0;
    stop.disabled = true;
    state.textContent = "waiting";
    state.className = "badge waiting";
    say(text, wrong);
  }

  function restart(): void {
    if (!source) return;
    sender?.close();
    receiver?.close();
    frames.length = 0;
    connect();
  }

  editor.element.addEventListener("toggle", () => void api.blendshapes().then((names) => editor.fill(names)).catch((error: unknown) => say(explain(error), true)), { once: true });

  const element = make("section", { class: "live-tab" },
    make("div", { class: "stage" },
      make("div", { class: "panel sender" }, make("h2", {}, "Sender"), make("div", { class: "chooser" }, start, portrait, stop), sentView, message),
      make("div", { class: "panel receiver" }, make("h2", {}, "Receiver ", state), view.canvas,
        make("p", { class: "hint" }, "Fed by what arrived through the receiving socket, and by nothing else."))),
    make("div", { class: "panel" }, make("h2", {}, "The network between them"),
      make("div", { class: "controls" },
        make("label", { class: "slider", for: "loss" }, make("span", {}, "Loss"), loss, lossName),
        make("label", { class: "slider", for: "delay" }, make("span", {}, "Delay"), delay, delayName),
        make("label", { class: "field", for: "live-quality" }, make("span", {}, "Quality"), quality),
        make("label", { class: "switch" }, repair, make("span", {}, "receiver asks for repair")),
        drop, refresh),
      figures, chart.element),
    make("div", { class: "two" }, make("div", { class: "panel" }, bars.element), editor.element));
  return { element, leave: () => source && end("Stopped, as you left. Nothing is sent.") };
}
