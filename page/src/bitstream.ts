// The head of a bitstream frame, as docs/bitstream.md lays it out. What travels can be told without any model.

export const PORTIONS = ["illumination", "expression", "identity"] as const;
export type Portion = (typeof PORTIONS)[number];

export interface Outline {
  key: boolean;
  /** Number of the quality; of a predicted frame, that of its key frame. */
  quality: number | null;
  bits: number;
  headerBits: number;
  /** Bits of each payload with its check; 0 where it does not travel. */
  payloadBits: Record<Portion, number>;
}

const PREDICTED_OVERHEAD_BITS = 12;

export function outline(frame: Uint8Array): Outline {
  if (frame.length < 2) throw new Error("A frame has two bytes at least");
  const payloadBits: Record<Portion, number> = { illumination: 0, expression: 0, identity: 0 };
  const head = (frame[0]! << 8) | frame[1]!;
  const bits = 8 * frame.length;
  if (head & 0x2000) {
    payloadBits.expression = bits - PREDICTED_OVERHEAD_BITS;
    return { key: false, quality: null, bits, headerBits: PREDICTED_OVERHEAD_BITS, payloadBits };
  }
  const mask = (head >> 7) & 7;
  const present = PORTIONS.filter((_, place) => mask & (4 >> place));
  let left = bits - 16 - 8 * (present.length - 1);
  present.forEach((portion, place) => {
    const last = place === present.length - 1;
    payloadBits[portion] = last ? left : 8 * ((frame[2 + place] ?? 0) + 1);
    left -= payloadBits[portion];
  });
  const payloads = Object.values(payloadBits).reduce((sum, some) => sum + some, 0);
  return { key: true, quality: (head >> 10) & 7, bits, headerBits: bits - payloads, payloadBits };
}
