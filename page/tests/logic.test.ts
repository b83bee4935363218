import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it, vi } from "vitest";
import { readErrorRates, readRates } from "../content/figures";
import { outline } from "../src/bitstream";
import { curves, density, probit } from "../src/distribution";
import { parseMetrics, quantile, routeFigures } from "../src/metrics";
import { edited, lit, moved, normals, rotationMatrix, toLinear, toSrgb } from "../src/morph";
import { explain, Problem, sentence } from "../src/problems";
import { Channel, Rate } from "../src/stream";

const document = (path: string) => readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), "utf8");

describe("the head of a frame", () => {
  it("reads the specification's example", () => {
    const frame = Uint8Array.from([0x03, 0x55, 0x01, 0x80, 0x2b, 0x80, 0x96]);
    expect(outline(frame)).toEqual({
      key: true, quality: 0, bits: 56, headerBits: 24,
      payloadBits: { illumination: 16, expression: 16, identity: 0 },
    });
    expect(outline(Uint8Array.from([0x02, 0x60, 0x80, 0x2b])).payloadBits).toEqual({ illumination: 16, expression: 0, identity: 0 });
  });

  it("knows predicted frames", () => {
    const found = outline(Uint8Array.from([0x20, 0, 0, 0, 0]));
    expect([found.key, found.headerBits, found.payloadBits.expression]).toEqual([false, 12, 28]);
  });

  it("refuses what is no frame", () => {
    expect(() => outline(new Uint8Array(1))).toThrow();
  });
});

describe("a head from numbers", () => {
  it("moves along the directions", () => {
    const out = new Float32Array(3);
    moved(Float32Array.from([1, 2, 3]), [Float32Array.from([1, 0, 0]), Float32Array.from([0, 0, 2])], [0.5, -1], out);
    expect([...out]).toEqual([1.5, 2, 1]);
  });

  it("has normals that point outwards of counter-clockwise triangles", () => {
    const out = new Float32Array(9);
    normals(Float32Array.from([0, 0, 0, 1, 0, 0, 0, 1, 0]), [0, 1, 2], out);
    expect([...out.slice(0, 3)]).toEqual([0, 0, 1]);
  });

  it("is lit as the service draws it: no light is even light, more of the first harmonic is brighter", () => {
    const albedo = Float32Array.from([0.4, 0.4, 0.4]), unit = Float32Array.from([0, 0, 1]), out = new Float32Array(3);
    lit(albedo, unit, [0, 0, 0], undefined, out);
    expect(out[0]).toBeCloseTo(0.4);
    const light = new Array<number>(27).fill(0);
    light[0] = 0.5;
    light[9 + 2] = 0.1;
    lit(albedo, unit, [0, 0, 0], light, out);
    expect(out[0]).toBeCloseTo(0.6);
    expect(out[1]).toBeCloseTo(0.4 * (1 + 0.1 * Math.sqrt(3)));
    // Turned to the side, the light from the front falls past it.
    lit(albedo, unit, [0, Math.PI / 2, 0], light, out);
    expect(out[1]).toBeCloseTo(0.4);
  });

  it("turns as the architecture says: yaw above 0 to the subject's left", () => {
    const r = rotationMatrix([0, 0.5, 0]);
    expect(r[2]).toBeCloseTo(Math.sin(0.5));
    expect(rotationMatrix([0.5, 0, 0])[5]).toBeCloseTo(-Math.sin(0.5));
  });

  it("keeps colours through linear light", () => {
    for (const value of [0, 0.02, 0.5, 1]) expect(toSrgb(toLinear(value))).toBeCloseTo(value, 6);
  });

  it("is edited by adding what a name asks for", () => {
    const found = edited({ expression: [1, 2], rotation: [0, 0, 0] }, { jawOpen: 0.5, yaw: 90 }, { jawOpen: [2, 0, 4] });
    expect(found.expression.slice(0, 4)).toEqual([2, 2, 2, 0]);
    expect(found.rotation[1]).toBeCloseTo(Math.PI / 2);
  });
});

describe("the network between sender and receiver", () => {
  const frame = (value: number) => Uint8Array.from([value, value]);

  it("loses what it is told to and says that it is missing", () => {
    const arrived: number[] = [];
    const channel = new Channel((data) => arrived.push(data.length), () => 0.5);
    channel.carry(frame(1));
    channel.dropOne();
    channel.carry(frame(2));
    channel.carry(frame(3));
    channel.loss = 0.6;
    channel.carry(frame(4));
    expect(arrived).toEqual([2, 0, 2, 0]);
    expect([channel.lost, channel.carried]).toEqual([2, 4]);
  });

  it("delays, and keeps the order where the delay shrinks", () => {
    vi.useFakeTimers();
    const arrived: number[] = [];
    const channel = new Channel((data) => arrived.push(data[0]!));
    channel.delayMilliseconds = 500;
    channel.carry(frame(1));
    channel.delayMilliseconds = 0;
    channel.carry(frame(2));
    vi.advanceTimersByTime(400);
    expect(arrived).toEqual([]);
    vi.advanceTimersByTime(200);
    expect(arrived).toEqual([1, 2]);
    vi.useRealTimers();
  });

  it("counts what came in the last second", () => {
    const rate = new Rate();
    for (const time of [0, 200, 400, 900]) rate.count(time);
    expect(rate.count(1300)).toBe(3);
  });
});

describe("metrics", () => {
  const text = `# HELP x y
semface_http_requests_total{method="POST",route="/v1/analyze",status="200"} 8.0
semface_http_requests_total{method="POST",route="/v1/analyze",status="503"} 2.0
semface_http_requests_total{method="GET",route="unknown",status="404"} 7.0
semface_http_request_seconds_bucket{le="0.1",route="/v1/analyze"} 5.0
semface_http_request_seconds_bucket{le="0.5",route="/v1/analyze"} 9.0
semface_http_request_seconds_bucket{le="+Inf",route="/v1/analyze"} 10.0
`;

  it("are read by route, and what is not of the API is left out", () => {
    expect(routeFigures(parseMetrics(text))).toEqual([{ route: "/v1/analyze", requests: 10, failed: 2, p50: 100, p99: Infinity }]);
  });

  it("have no quantile where nothing was counted", () => {
    expect(quantile([], 0.5)).toBeNaN();
  });
});

describe("scores", () => {
  it("probit inverts the normal distribution", () => {
    for (const [share, value] of [[0.5, 0], [0.975, 1.959964], [0.01, -2.326348], [0.001, -3.090232]] as const)
      expect(probit(share)).toBeCloseTo(value, 5);
  });

  it("lie as the card of the network measured", () => {
    const rates = readErrorRates(document("model_repository/face_verification/card.md"));
    const { same, different } = curves(rates, "medium");
    const above = (curve: typeof same, from: number) => {
      let sum = 0;
      for (let x = from; x < 3; x += 0.0005) sum += 0.0005 * density(curve, x);
      return sum;
    };
    expect(above(different, rates.thresholds.far2)).toBeCloseTo(0.01, 3);
    expect(above(same, rates.thresholds.far2)).toBeCloseTo(rates.accepted.medium!.far2, 2);
    expect(same.mean).toBeGreaterThan(different.mean);
  });
});

describe("published figures", () => {
  it("are found in their documents", () => {
    const rates = readRates(document("docs/benchmarks.md"));
    expect(rates.ours.length).toBeGreaterThanOrEqual(6);
    expect(rates.folds.length).toBeGreaterThanOrEqual(6);
    for (const points of Object.values(rates))
      for (const { bits, accuracy } of points) {
        expect(bits).toBeGreaterThan(50);
        expect(accuracy).toBeGreaterThan(0.6);
        expect(accuracy).toBeLessThan(1);
      }
  });

  it("stop the build where a table is gone", () => {
    expect(() => readRates("nothing")).toThrow(/not found/);
  });
});

describe("problems", () => {
  it("are sentences that say what to do", () => {
    expect(new Problem({ status: 422, reason: "NO_FACE", detail: "no face" }).message).toMatch(/Choose a photograph/);
    expect(sentence({ status: 422, reason: "FIELD_INVALID", detail: "the id is too long" })).toBe("The id is too long.");
    expect(explain(Object.assign(new Error("x"), { name: "NotAllowedError" }))).toMatch(/Allow it/);
  });
});
