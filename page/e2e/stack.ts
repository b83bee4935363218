// A real stack and a real browser for the tests.
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium, type Browser } from "playwright-core";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const PYTHON = join(ROOT, ".venv/bin/python");
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

async function freePort(): Promise<number> {
  return new Promise((done) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => done(typeof address === "object" && address ? address.port : 0));
    });
  });
}

export const folder = mkdtempSync(join(tmpdir(), "semface-page-"));
export const files = { video: join(folder, "camera.mjpeg"), stranger: join(folder, "stranger.png"), noise: join(folder, "noise.png") };

export function makeFiles(): void {
  execFileSync(PYTHON, [join(ROOT, "page/e2e/make_video.py"), files.video, files.stranger, files.noise]);
}

export class Stack {
  private process: ChildProcess | undefined;
  private readonly port: number;
  private readonly grpc: number;

  private constructor(port: number, grpc: number) {
    this.port = port;
    this.grpc = grpc;
  }

  static async prepare(): Promise<Stack> {
    return new Stack(await freePort(), await freePort());
  }

  get url(): string {
    return process.env.SEMFACE_URL ?? `http://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const env = { ...process.env, SEMFACE_PORT: String(this.grpc), SEMFACE_HTTP_PORT: String(this.port), SEMFACE_LOG_LEVEL: "warning",
      OMP_NUM_THREADS: "1", SEMFACE_CALL_TIMEOUT_SECONDS: "60", SEMFACE_DATA: join(folder, "data") };
    const child = spawn(PYTHON, ["-m", "semface.cli", "up", "--json"], { cwd: ROOT, env, stdio: ["ignore", "pipe", "inherit"] });
    this.process = child;
    await new Promise<void>((done, failed) => {
      child.stdout!.once("data", () => done());
      child.once("exit", () => failed(new Error("the stack did not start")));
    });
  }

  async stop(): Promise<void> {
    const child = this.process;
    if (!child || child.exitCode !== null) return;
    const gone = new Promise((done) => child.once("exit", done));
    child.kill("SIGTERM");
    await gone;
  }
}

export async function openBrowser(): Promise<Browser> {
  if (!existsSync(CHROMIUM)) throw new Error(`There is no browser at ${CHROMIUM}. apt-get install chromium, or set CHROMIUM`);
  return chromium.launch({
    executablePath: CHROMIUM,
    args: ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", `--use-file-for-fake-video-capture=${files.video}`,
      "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"],
  });
}
