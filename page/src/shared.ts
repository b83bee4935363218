// What the parts of the page share, in memory only.

/** The codec's qualities in their order; the service takes their numbers. */
export const QUALITIES = ["lowest", "low", "medium", "high", "higher", "highest"];

export interface Remembered {
  frame: Uint8Array<ArrayBuffer>;
  name: string;
}

let last: Remembered | undefined;
const listeners: ((face: Remembered) => void)[] = [];

/** Keeps the face that was decoded last, so that it can be enrolled. */
export function remember(face: Remembered): void {
  last = face;
  for (const listener of listeners) listener(face);
}

export const remembered = (): Remembered | undefined => last;
export const onRemembered = (listener: (face: Remembered) => void): void => void listeners.push(listener);

/** Thumbnails of enrolled subjects, drawn from their decoded stream. A reload forgets them. */
export const thumbnails = new Map<string, string>();
