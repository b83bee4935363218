// A head from numbers: the neutral head and the directions of expression come as a mesh, all else is arithmetic.

export interface Neutral {
  /** In metres, three for each vertex. */
  positions: Float32Array;
  /** The skin's own colour, sRGB, 0 to 1. */
  albedo: Float32Array;
}

export interface Pose {
  /** 64 numbers in standard deviations. */
  expression: ArrayLike<number>;
  /** Pitch, yaw and roll in radians. */
  rotation: ArrayLike<number>;
}

const BAND_1 = Math.sqrt(3);
const BAND_2 = Math.sqrt(15);
const ZONAL = Math.sqrt(5) / 2;

/** R = Rz(roll)·Ry(yaw)·Rx(pitch), row by row. */
export function rotationMatrix(rotation: ArrayLike<number>): number[] {
  const [pitch, yaw, roll] = [rotation[0] ?? 0, rotation[1] ?? 0, rotation[2] ?? 0];
  const [sa, sb, sc] = [Math.sin(pitch), Math.sin(yaw), Math.sin(roll)];
  const [ca, cb, cc] = [Math.cos(pitch), Math.cos(yaw), Math.cos(roll)];
  return [
    cb * cc, sa * sb * cc - ca * sc, ca * sb * cc + sa * sc,
    cb * sc, sa * sb * sc + ca * cc, ca * sb * sc - sa * cc,
    -sb, sa * cb, ca * cb,
  ];
}

/** Writes neutral + Σ δⱼ targetⱼ into `out`. */
export function moved(neutral: Float32Array, targets: Float32Array[], expression: ArrayLike<number>, out: Float32Array): void {
  out.set(neutral);
  targets.forEach((target, number) => {
    const weight = expression[number] ?? 0;
    if (weight === 0) return;
    for (let place = 0; place < out.length; place++) out[place]! += weight * target[place]!;
  });
}

/** Writes the unit normals of a mesh into `out`. */
export function normals(positions: Float32Array, triangles: ArrayLike<number>, out: Float32Array): void {
  out.fill(0);
  for (let corner = 0; corner < triangles.length; corner += 3) {
    const [a, b, c] = [3 * triangles[corner]!, 3 * triangles[corner + 1]!, 3 * triangles[corner + 2]!];
    const ux = positions[b]! - positions[a]!, uy = positions[b + 1]! - positions[a + 1]!, uz = positions[b + 2]! - positions[a + 2]!;
    const vx = positions[c]! - positions[a]!, vy = positions[c + 1]! - positions[a + 1]!, vz = positions[c + 2]! - positions[a + 2]!;
    const nx = uy * vz - uz * vy, ny = uz * vx - ux * vz, nz = ux * vy - uy * vx;
    for (const at of [a, b, c]) {
      out[at]! += nx;
      out[at + 1]! += ny;
      out[at + 2]! += nz;
    }
  }
  for (let at = 0; at < out.length; at += 3) {
    const length = Math.hypot(out[at]!, out[at + 1]!, out[at + 2]!) || 1;
    out[at]! /= length;
    out[at + 1]! /= length;
    out[at + 2]! /= length;
  }
}

/** Writes the lit colours, sRGB, into `out`: albedo × light, which falls on the head as it was photographed. */
export function lit(
  albedo: Float32Array,
  unit: Float32Array,
  rotation: ArrayLike<number>,
  illumination: ArrayLike<number> | undefined,
  out: Float32Array,
): void {
  if (!illumination || illumination.length !== 27) {
    out.set(albedo);
    return;
  }
  const r = rotationMatrix(rotation);
  for (let at = 0; at < out.length; at += 3) {
    const [nx, ny, nz] = [unit[at]!, unit[at + 1]!, unit[at + 2]!];
    const x = r[0]! * nx + r[1]! * ny + r[2]! * nz;
    const y = r[3]! * nx + r[4]! * ny + r[5]! * nz;
    const z = r[6]! * nx + r[7]! * ny + r[8]! * nz;
    const harmonics = [
      1, BAND_1 * y, BAND_1 * z, BAND_1 * x, BAND_2 * x * y, BAND_2 * y * z, ZONAL * (3 * z * z - 1), BAND_2 * x * z,
      (BAND_2 / 2) * (x * x - y * y),
    ];
    for (let channel = 0; channel < 3; channel++) {
      let light = 1;
      for (let band = 0; band < 9; band++) light += harmonics[band]! * illumination[9 * channel + band]!;
      out[at + channel] = Math.min(Math.max(albedo[at + channel]! * Math.max(light, 0), 0), 1);
    }
  }
}

export const toSrgb = (linear: number): number =>
  linear <= 0.0031308 ? 12.92 * linear : 1.055 * linear ** (1 / 2.4) - 0.055;
export const toLinear = (srgb: number): number => (srgb <= 0.04045 ? srgb / 12.92 : ((srgb + 0.055) / 1.055) ** 2.4);

/** δ and δ + Σ weight × what the name asks for, and the pose with what was added to it. */
export function edited(received: Pose, offsets: Record<string, number>, names: Record<string, number[]>): { expression: number[]; rotation: number[] } {
  const expression = Array.from({ length: 64 }, (_, place) => received.expression[place] ?? 0);
  const rotation = Array.from({ length: 3 }, (_, place) => received.rotation[place] ?? 0);
  for (const [name, weight] of Object.entries(offsets)) {
    const turn = ["pitch", "yaw", "roll"].indexOf(name);
    if (turn >= 0) rotation[turn]! += (weight * Math.PI) / 180;
    else names[name]?.forEach((value, place) => (expression[place]! += weight * value));
  }
  return { expression, rotation };
}
