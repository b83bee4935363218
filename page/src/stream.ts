// The two sockets of a stream, and the way between them: the page is the network, and may be a bad one.
import { subprotocols, type Box, type Expression, type Groups } from "./api";
import { Problem, type ProblemDetails } from "./problems";

export interface Sent {
  number: number;
  width: number;
  height: number;
  faces: number;
  box?: Box;
  key?: boolean;
  bits?: Record<string, number>;
  milliseconds: Record<string, number>;
}
export interface Shown {
  number: number;
  state: "decoded" | "concealed" | "waiting";
  bits: number;
  descriptors?: Groups;
  expression?: Expression;
}

const RETRY_MILLISECONDS = [500, 1000, 2000, 4000];

/** A WebSocket that comes back by itself until it is closed here, or refused for good. */
export class Socket {
  private socket: WebSocket | undefined;
  private tries = 0;
  private closed = false;
  private refused: Problem | undefined;
  onText: (text: string) => void = () => {};
  onBinary: (data: ArrayBuffer) => void = () => {};
  onOpen: () => void = () => {};
  onAway: () => void = () => {};
  onRefused: (problem: Problem) => void = () => {};
  private readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  open(): void {
    const url = new URL(`.${this.path}`, document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url, subprotocols());
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onopen = () => {
      this.tries = 0;
      this.onOpen();
    };
    socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
      if (typeof data !== "string") return this.onBinary(data);
      const told = JSON.parse(data) as { problem?: ProblemDetails };
      if (told.problem) this.refused = new Problem(told.problem);
      else this.onText(data);
    };
    socket.onclose = () => {
      if (this.closed) return;
      const { refused } = this;
      this.refused = undefined;
      // What the caller did wrong stays wrong; all else passes.
      if (refused && refused.details.status < 500 && refused.details.status !== 429) {
        this.closed = true;
        return this.onRefused(refused);
      }
      this.onAway();
      const wait = RETRY_MILLISECONDS[Math.min(this.tries++, RETRY_MILLISECONDS.length - 1)]!;
      setTimeout(() => this.closed || this.open(), wait);
    };
  }

  send(data: string | Blob | Uint8Array<ArrayBuffer>): boolean {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(data);
    return true;
  }

  close(): void {
    this.closed = true;
    this.socket?.close();
  }
}

/** Carries frames in their order, and drops and delays them on request. */
export class Channel {
  /** Share of frames that are lost, 0 to 1. */
  loss = 0;
  delayMilliseconds = 0;
  private dropNext = false;
  private free = 0;
  private readonly deliver: (frame: Uint8Array<ArrayBuffer>) => void;
  private readonly random: () => number;
  lost = 0;
  carried = 0;

  constructor(deliver: (frame: Uint8Array<ArrayBuffer>) => void, random: () => number = Math.random) {
    this.deliver = deliver;
    this.random = random;
  }

  dropOne(): void {
    this.dropNext = true;
  }

  carry(frame: Uint8Array<ArrayBuffer>): void {
    const drop = this.dropNext || this.random() < this.loss;
    this.dropNext = false;
    this.carried++;
    if (drop) this.lost++;
    // An empty frame says that one is missing: the receiver counts as a transport does.
    const arrives = drop ? new Uint8Array(0) : frame;
    const now = performance.now();
    this.free = Math.max(this.free, now + this.delayMilliseconds);
    if (this.delayMilliseconds === 0 && this.free <= now) return this.deliver(arrives);
    setTimeout(() => this.deliver(arrives), this.free - now);
  }
}

/** Counts events over the last second. */
export class Rate {
  private readonly times: number[] = [];

  count(now = performance.now()): number {
    this.times.push(now);
    while (this.times[0]! <= now - 1000) this.times.shift();
    return this.times.length;
  }
}
