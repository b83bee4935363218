// The gateway's public API, as everyone calls it.
import { Problem, unreachable, type ProblemDetails } from "./problems";

export const BITSTREAM = "application/vnd.semface.bitstream";
const PHOTOGRAPHS = ["image/jpeg", "image/png", "image/webp"];

export interface Box {
  x0: number;
  y0: number;
  x1: number;
  y1: number;
}
export interface Expression {
  leading: string;
  confidences: Record<string, number>;
}
export interface AnalyzedFace {
  id: number;
  box: Box;
  square: { x0: number; y0: number; side: number };
  quality: number;
  confidence: number;
  descriptors: number[];
}
export interface Analysis {
  width: number;
  height: number;
  faces: AnalyzedFace[];
  minimum_quality: number;
  milliseconds: Record<string, number>;
}
export interface Decision {
  matched: boolean;
  score: number;
  threshold: number;
  operating_point: string;
}
export interface Model {
  name: string;
  version: string;
  hash: string;
  engine: string | null;
}
export interface Subject {
  subject: string;
  enrolled_at: number;
  samples: number;
  model: Model;
}
export interface Identified {
  candidates: { subject: string; score: number }[];
  threshold: number;
  operating_point: string;
  compared: number;
}
export type Groups = Partial<Record<"shape" | "texture" | "expression" | "rotation" | "translation" | "illumination", number[]>>;
export interface Decoded {
  descriptors: Groups;
  portions: string[];
  quality: string;
}
export interface Readiness {
  ready: boolean;
  services: Record<string, boolean>;
  store: boolean;
}

/** The API key, kept in this page's memory only. */
let key = "";
export const setKey = (value: string): void => void (key = value.trim());

/** Milliseconds of the stages of the last answers, for the page on the system. */
export const recentStages: { path: string; milliseconds: Record<string, number> }[] = [];

/** Subprotocols of a stream: browsers cannot set an Authorization header there. */
export const subprotocols = (): string[] => (key ? ["semface", `bearer.${key}`] : ["semface"]);

export async function call(path: string, options: RequestInit = {}): Promise<Response> {
  const headers = new Headers(options.headers);
  if (key) headers.set("Authorization", `Bearer ${key}`);
  let answer: Response;
  try {
    answer = await fetch(`.${path}`, { ...options, headers });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw unreachable();
  }
  if (answer.ok) return answer;
  let details: ProblemDetails;
  try {
    details = (await answer.json()) as ProblemDetails;
  } catch {
    details = { status: answer.status, reason: "UNKNOWN", detail: `the service answered ${answer.status}` };
  }
  throw new Problem(details);
}

async function json<Answer>(path: string, options: RequestInit = {}): Promise<Answer> {
  const answer = (await (await call(path, options)).json()) as Answer & { milliseconds?: Record<string, number> };
  if (answer.milliseconds) {
    recentStages.push({ path: path.replace(/\?.*/, "").replace(/(subjects)\/[^/]+/, "$1/…"), milliseconds: answer.milliseconds });
    if (recentStages.length > 200) recentStages.shift();
  }
  return answer;
}

const post = (body: BodyInit, type: string, more: RequestInit = {}): RequestInit => ({
  method: "POST",
  body,
  ...more,
  headers: { "Content-Type": type, ...(more.headers as Record<string, string> | undefined) },
});
const numbers = (values: number[] | Groups, signal?: AbortSignal): RequestInit =>
  post(JSON.stringify({ descriptors: values }), "application/json", { signal });

/** Refuses what the service would refuse, before it is uploaded. */
export function photographType(file: Blob): string {
  if (PHOTOGRAPHS.includes(file.type)) return file.type;
  const detail = "a photograph is JPEG, PNG or WebP";
  throw new Problem({ status: 415, reason: "MEDIA_TYPE_UNSUPPORTED", detail });
}

export const analyze = (photograph: Blob): Promise<Analysis> =>
  json("/v1/analyze?descriptors=true", post(photograph, photographType(photograph)));

export async function encode(values: number[], quality: number, portions: string[], signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  const query = new URLSearchParams([["quality", String(quality)], ...portions.map((name) => ["portion", name])]);
  return new Uint8Array(await (await call(`/v1/encode?${query}`, numbers(values, signal))).arrayBuffer());
}

export async function encodePhotograph(photograph: Blob): Promise<Uint8Array<ArrayBuffer>> {
  const answer = await call("/v1/encode?face=largest", post(photograph, photographType(photograph)));
  return new Uint8Array(await answer.arrayBuffer());
}

export const decode = (frame: BodyInit, signal?: AbortSignal): Promise<Decoded> =>
  json("/v1/decode", post(frame, BITSTREAM, { signal }));

export async function expression(source: BodyInit | Groups, signal?: AbortSignal): Promise<Expression> {
  const request = source instanceof Uint8Array ? post(source as BodyInit, BITSTREAM, { signal }) : numbers(source as Groups, signal);
  return (await json<{ faces: Expression[] }>("/v1/expression", request)).faces[0]!;
}

function two(one: BlobPart, other: BlobPart): FormData {
  const form = new FormData();
  for (const part of [one, other]) form.append("bitstream", new Blob([part], { type: BITSTREAM }));
  return form;
}

export const compare = (one: BlobPart, other: BlobPart, signal?: AbortSignal): Promise<Decision> =>
  json("/v1/compare", { method: "POST", body: two(one, other), signal });

/** The mesh of a face; with morph targets the neutral head, and the 64 directions of expression. */
export async function mesh(groups: Groups, morphTargets: boolean, signal?: AbortSignal): Promise<ArrayBuffer> {
  const request = numbers(groups, signal);
  request.headers = { ...(request.headers as Record<string, string>), Accept: "model/gltf-binary" };
  return (await call(`/v1/render?morph_targets=${morphTargets}`, request)).arrayBuffer();
}

/** A drawing of a frame as a PNG. */
export async function drawing(frame: BodyInit, size: number): Promise<Blob> {
  return (await call(`/v1/render?size=${size}`, post(frame, BITSTREAM, { headers: { Accept: "image/png" } }))).blob();
}

export async function blendshapes(): Promise<Record<string, number[]>> {
  return (await json<{ expressions: Record<string, number[]> }>("/v1/blendshapes")).expressions;
}

export const subjects = async (): Promise<Subject[]> =>
  (await json<{ subjects: Subject[] }>("/v1/subjects?limit=100")).subjects;
export const enroll = (id: string, frame: BodyInit): Promise<Subject & { created: boolean }> =>
  json(`/v1/subjects/${encodeURIComponent(id)}`, { ...post(frame, BITSTREAM), method: "PUT" });
export const verify = (id: string, frame: BodyInit, operatingPoint: string): Promise<Decision> =>
  json(`/v1/subjects/${encodeURIComponent(id)}/verify?operating_point=${operatingPoint}`, post(frame, BITSTREAM));
export const identify = (frame: BodyInit, operatingPoint: string): Promise<Identified> =>
  json(`/v1/identify?operating_point=${operatingPoint}`, post(frame, BITSTREAM));
export const erase = async (id: string): Promise<void> =>
  void (await call(`/v1/subjects/${encodeURIComponent(id)}`, { method: "DELETE" }));

export const models = async (): Promise<Model[]> => (await json<{ models: Model[] }>("/v1/models")).models;
export const metrics = async (): Promise<string> => (await call("/metrics")).text();

export async function readiness(): Promise<Readiness> {
  const answer = await fetch("./readyz").catch(() => undefined);
  if (!answer) throw unreachable();
  if (answer.status !== 200 && answer.status !== 503) throw unreachable();
  return (await answer.json()) as Readiness;
}
