// The received face in three dimensions: turns under the pointer and by the arrow keys, drawn only when it changes.
import { BufferAttribute, BufferGeometry, Group, Mesh, MeshBasicMaterial, PerspectiveCamera, Scene, WebGLRenderer } from "three";
import { GLTFLoader } from "three/examples/jsm/loaders/GLTFLoader.js";
import * as api from "./api";
import { reducedMotion } from "./dom";
import { lit, moved, normals, toLinear, toSrgb, type Neutral } from "./morph";

/** The camera of a face square: 4.5 sides of focal length, 1,000 mm in front of the head. */
const FIELD_OF_VIEW = (2 * Math.atan(0.5 / 4.5) * 180) / Math.PI;
const DISTANCE = 1;
const MOST_TURN = 1.1;
const KEY_STEP = 0.12;

async function readMesh(data: ArrayBuffer): Promise<BufferGeometry> {
  const { scene } = await new GLTFLoader().parseAsync(data, "");
  let geometry: BufferGeometry | undefined;
  scene.traverse((node) => {
    if (node instanceof Mesh) geometry = node.geometry as BufferGeometry;
  });
  if (!geometry) throw new Error("The mesh holds no head");
  return geometry;
}

let shared: Promise<{ targets: Float32Array[]; triangles: ArrayLike<number> }> | undefined;

/** The directions of expression, the same for every head: fetched once. */
function directions(): NonNullable<typeof shared> {
  shared ??= api.mesh({ shape: new Array<number>(80).fill(0), texture: new Array<number>(80).fill(0) }, true).then(async (data) => {
    const geometry = await readMesh(data);
    const targets = geometry.morphAttributes.position!.map((attribute) => attribute.array as Float32Array);
    return { targets, triangles: geometry.index!.array };
  });
  shared.catch(() => (shared = undefined));
  return shared;
}

async function neutralHead(shape: number[], texture: number[], signal?: AbortSignal): Promise<Neutral> {
  const geometry = await readMesh(await api.mesh({ shape, texture }, false, signal));
  const colours = geometry.getAttribute("color");
  const albedo = new Float32Array(3 * colours.count);
  for (let vertex = 0; vertex < colours.count; vertex++)
    for (let channel = 0; channel < 3; channel++)
      albedo[3 * vertex + channel] = toSrgb(colours.getComponent(vertex, channel));
  return { positions: geometry.getAttribute("position").array as Float32Array, albedo };
}

export class HeadView {
  readonly canvas: HTMLCanvasElement;
  private readonly renderer: WebGLRenderer | undefined;
  private readonly scene = new Scene();
  private readonly camera = new PerspectiveCamera(FIELD_OF_VIEW, 1, 0.1, 10);
  /** Turned by the pointer around the head's own place. */
  private readonly turntable = new Group();
  private readonly head = new Group();
  private mesh: Mesh<BufferGeometry, MeshBasicMaterial> | undefined;
  private neutral: Neutral | undefined;
  private neutralOf = "";
  private loading: Promise<void> | undefined;
  private targets: Float32Array[] = [];
  private triangles: ArrayLike<number> = [];
  private turn = { x: 0, y: 0 };
  private wanted = { x: 0, y: 0 };
  private scheduled = false;
  private size = { width: 0, height: 0 };

  constructor(label: string) {
    this.canvas = document.createElement("canvas");
    this.canvas.className = "head";
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `${label}. Turn it with the arrow keys.`);
    try {
      const { canvas } = this;
      const fast = canvas.getContext("webgl2", { antialias: true, alpha: true, failIfMajorPerformanceCaveat: true });
      // Without a graphics card each sample is paid for on the processor, which has the stream to carry.
      const context = fast ?? canvas.getContext("webgl2", { antialias: false, alpha: true })!;
      this.renderer = new WebGLRenderer({ canvas, context });
      this.renderer.setPixelRatio(fast ? Math.min(devicePixelRatio, 2) : 1);
    } catch {
      this.canvas.setAttribute("aria-label", `${label}. This browser does not draw in three dimensions.`);
    }
    this.scene.add(this.turntable);
    this.turntable.add(this.head);
    this.camera.position.z = DISTANCE;
    this.listen();
    new ResizeObserver(() => this.schedule()).observe(this.canvas);
  }

  /** Shows the face of `groups`; what is absent is the mean's. Fetches the head again only where identity changed. */
  async show(groups: api.Groups, signal?: AbortSignal): Promise<void> {
    const shape = groups.shape ?? new Array<number>(80).fill(0);
    const texture = groups.texture ?? new Array<number>(80).fill(0);
    const identity = `${shape.join()};${texture.join()}`;
    if (identity !== this.neutralOf) {
      const [all, neutral] = await Promise.all([directions(), neutralHead(shape, texture, signal)]);
      if (signal?.aborted) return;
      ({ targets: this.targets, triangles: this.triangles } = all);
      this.neutral = neutral;
      this.neutralOf = identity;
    }
    this.pose(groups);
  }

  /** The same, for a stream: never waits, and skips moments while a new identity is being fetched. */
  follow(groups: api.Groups): void {
    const identity = `${groups.shape?.join() ?? ""};${groups.texture?.join() ?? ""}`;
    if (groups.shape && identity !== this.neutralOf) {
      this.loading ??= this.show(groups)
        .catch(() => undefined)
        .finally(() => (this.loading = undefined));
      if (!this.neutral) return;
    }
    if (this.neutral) this.pose(groups);
  }

  private pose(groups: api.Groups): void {
    const { neutral } = this;
    if (!neutral) return;
    if (!this.mesh) {
      const geometry = new BufferGeometry();
      for (const name of ["position", "normal", "color"])
        geometry.setAttribute(name, new BufferAttribute(new Float32Array(neutral.positions.length), 3));
      geometry.setIndex(Array.from(this.triangles));
      this.mesh = new Mesh(geometry, new MeshBasicMaterial({ vertexColors: true }));
      this.mesh.frustumCulled = false;
      this.head.add(this.mesh);
    }
    const { geometry } = this.mesh;
    const array = (name: string) => geometry.getAttribute(name).array as Float32Array;
    const rotation = groups.rotation ?? [0, 0, 0];
    moved(neutral.positions, this.targets, groups.expression ?? [], array("position"));
    normals(array("position"), this.triangles, array("normal"));
    const colours = array("color");
    lit(neutral.albedo, array("normal"), rotation, groups.illumination, colours);
    for (let place = 0; place < colours.length; place++) colours[place] = toLinear(colours[place]!);
    for (const name of ["position", "color"]) geometry.getAttribute(name).needsUpdate = true;
    this.head.rotation.set(rotation[0] ?? 0, rotation[1] ?? 0, rotation[2] ?? 0, "ZYX");
    const [x, y, z] = (groups.translation ?? [0, 0, 0]).map((millimetres) => millimetres / 1000) as [number, number, number];
    this.turntable.position.set(x, y, z);
    this.schedule();
  }

  private listen(): void {
    const { canvas } = this;
    canvas.addEventListener("pointermove", (event) => {
      const { left, top, width, height } = canvas.getBoundingClientRect();
      this.wanted = {
        x: MOST_TURN * ((2 * (event.clientY - top)) / height - 1) * 0.6,
        y: MOST_TURN * ((2 * (event.clientX - left)) / width - 1),
      };
      this.schedule();
    });
    canvas.addEventListener("pointerleave", () => {
      this.wanted = { x: 0, y: 0 };
      this.schedule();
    });
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (event.key === "Home") this.wanted = { x: 0, y: 0 };
      else if (step) {
        const within = (value: number) => Math.max(-MOST_TURN, Math.min(MOST_TURN, value));
        this.wanted = { x: within(this.wanted.x + KEY_STEP * step[0]!), y: within(this.wanted.y + KEY_STEP * step[1]!) };
      } else return;
      event.preventDefault();
      this.schedule();
    });
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      this.draw();
    });
  }

  private draw(): void {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!this.renderer || !width || !height) return;
    const share = reducedMotion() ? 1 : 0.25;
    this.turn.x += share * (this.wanted.x - this.turn.x);
    this.turn.y += share * (this.wanted.y - this.turn.y);
    this.turntable.rotation.set(this.turn.x, this.turn.y, 0, "XYZ");
    // To set a size clears the canvas, even where it is the same.
    if (width !== this.size.width || height !== this.size.height) {
      this.size = { width, height };
      this.renderer.setSize(width, height, false);
      this.camera.aspect = width / height;
      this.camera.updateProjectionMatrix();
    }
    this.renderer.render(this.scene, this.camera);
    this.canvas.dataset.turn = this.turn.y.toFixed(3);
    if (Math.abs(this.wanted.x - this.turn.x) + Math.abs(this.wanted.y - this.turn.y) > 0.002) this.schedule();
  }
}
