// Reads the figures that the page shows out of the documents that publish them, so that each stands in one place.

export interface RatePoint {
  bits: number;
  /** Share of pairs judged rightly, 0 to 1. */
  accuracy: number;
}

export interface Rates {
  /** What ships, people whom no training saw. */
  ours: RatePoint[];
  /** Two networks trained for LFW's folds, people unseen. */
  folds: RatePoint[];
  /** The paper's own figure, on its own data. */
  paper: RatePoint[];
  /** Coded as pixels, everything counted, then the identity teacher. */
  vvc: RatePoint[];
  hevc: RatePoint[];
}

export interface ErrorRates {
  /** Cosine at which 1 in 100, and 1 in 1,000, pairs of different people are accepted. */
  thresholds: { far2: number; far3: number; accuracy: number };
  /** By quality: share of pairs of one person that are accepted there. */
  accepted: Record<string, { far2: number; far3: number }>;
}

function cells(row: string): string[] {
  return row.split("|").slice(1, -1).map((cell) => cell.replaceAll("*", "").trim());
}

function number(text: string): number {
  const value = Number(text.replaceAll(",", "").replace("%", "").trim());
  if (!Number.isFinite(value)) throw new Error(`not a number: ${text}`);
  return value;
}

function rows(document: string, start: string): string[] {
  return document.split("\n").filter((line) => line.startsWith(`| ${start}`));
}

function found<T>(points: T[], what: string): T[] {
  if (points.length === 0) throw new Error(`${what}: not found; has its table changed? See page/content/figures.ts`);
  return points;
}

export function readRates(benchmarks: string): Rates {
  // The table of codecs: bits of a frame in the second column, verification in the last but one.
  const ours = rows(benchmarks, "ours, ")
    .map(cells)
    .filter((row) => row.length === 8)
    .map((row) => ({ bits: number(row[1]!), accuracy: number(row.at(-2)!) / 100 }));
  const lines = benchmarks.split("\n");
  const header = lines.findIndex((line) => line.startsWith("| quality | all: LFW bits | identity: bits | verification"));
  const folds: RatePoint[] = [];
  for (const line of header < 0 ? [] : lines.slice(header + 2)) {
    if (!line.startsWith("|")) break;
    const [, bits, , accuracy] = cells(line);
    if (bits) folds.push({ bits: number(bits), accuracy: number(accuracy!) / 100 });
  }
  const vvc: RatePoint[] = [];
  const first = lines.findIndex((line) => line.startsWith("| VVC, then the identity teacher"));
  for (const line of first < 0 ? [] : lines.slice(first)) {
    const [system, , bits, , accuracy] = cells(line);
    if (system && !system.startsWith("VVC")) break;
    vvc.push({ bits: number(bits!), accuracy: number(accuracy!) / 100 });
  }
  const hevc = rows(benchmarks, "HEVC, then the identity teacher").flatMap((row) => {
    const [, , bits, , accuracy] = cells(row).map((cell) => cell.split("·"));
    return bits!.map((value, place) => ({ bits: number(value), accuracy: number(accuracy![place]!) / 100 }));
  });
  const paper = [...benchmarks.matchAll(/the paper's own figures[^]*?([\d.]+) % on LFW at ([\d,.]+) bits/g)].map(
    (match) => ({ bits: number(match[2]!), accuracy: number(match[1]!) / 100 }),
  );
  const byBits = (points: RatePoint[]) => [...points].sort((one, other) => one.bits - other.bits);
  return {
    ours: byBits(found(ours, "accuracy after coding")),
    folds: byBits(found(folds, "folds by quality")),
    paper: found(paper, "the paper's own figures"),
    vvc: byBits(found(vvc, "VVC")),
    hevc: byBits(found(hevc, "HEVC")),
  };
}

export function readErrorRates(card: string): ErrorRates {
  const threshold = (name: string) => {
    const match = card.match(new RegExp("`threshold_" + name + "` \\| ([\\d.]+)"));
    if (!match) throw new Error(`threshold ${name}: not found in the card`);
    return Number(match[1]);
  };
  const accepted: ErrorRates["accepted"] = {};
  const table = card.slice(card.indexOf("| received |"));
  for (const line of table.split("\n").slice(2)) {
    if (!line.startsWith("|")) break;
    const [received, , far2, far3] = cells(line);
    accepted[received!] = { far2: number(far2!), far3: number(far3!) };
  }
  if (!accepted.medium) throw new Error("the card's table of what is received has no row 'medium'");
  return {
    thresholds: { far2: threshold("far_1e-2"), far3: threshold("far_1e-3"), accuracy: threshold("accuracy") },
    accepted,
  };
}
