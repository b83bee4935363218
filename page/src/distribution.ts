// Where scores lie: normal curves through the error rates that the verification network's card measured.
import type { ErrorRates } from "../content/figures";

export interface Normal {
  mean: number;
  deviation: number;
}

/** The standard normal quantile (Acklam's rational approximation, relative error below 1.2e-9). */
export function probit(p: number): number {
  const a = [-39.69683028665376, 220.9460984245205, -275.9285104469687, 138.357751867269, -30.66479806614716, 2.506628277459239];
  const b = [-54.47609879822406, 161.5858368580409, -155.6989798598866, 66.80131188771972, -13.28068155288572];
  const c = [-0.007784894002430293, -0.3223964580411365, -2.400758277161838, -2.549732539343734, 4.374664141464968, 2.938163982698783];
  const d = [0.007784695709041462, 0.3224671290700398, 2.445134137142996, 3.754408661907416];
  const horner = (coefficients: number[], x: number) => coefficients.reduce((sum, value) => sum * x + value, 0);
  if (p < 0.02425) {
    const q = Math.sqrt(-2 * Math.log(p));
    return horner(c, q) / (horner(d, q) * q + 1);
  }
  if (p > 1 - 0.02425) return -probit(1 - p);
  const q = p - 0.5;
  return (horner(a, q * q) * q) / (horner(b, q * q) * q * q + 1);
}

/** The normal curve that has the shares `above` (two of them) beyond the two scores `at`. */
export function through(at: [number, number], above: [number, number]): Normal {
  const [one, other] = above.map((share) => -probit(share)) as [number, number];
  const deviation = (at[1] - at[0]) / (other - one);
  return { mean: at[0] - one * deviation, deviation };
}

/** The curves of pairs of one person and of different people, at a quality of the codec. */
export function curves(rates: ErrorRates, quality: string): { same: Normal; different: Normal } {
  const { far2, far3 } = rates.thresholds;
  const accepted = rates.accepted[quality] ?? rates.accepted.medium!;
  return {
    same: through([far2, far3], [accepted.far2, accepted.far3]),
    different: through([far2, far3], [0.01, 0.001]),
  };
}

export const density = ({ mean, deviation }: Normal, x: number): number =>
  Math.exp(-0.5 * ((x - mean) / deviation) ** 2) / (deviation * Math.sqrt(2 * Math.PI));
