// Prometheus' text format, as far as the page shows it.

export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

export function parseMetrics(text: string): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split("\n")) {
    const match = line.match(/^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/);
    if (!match) continue;
    const labels: Record<string, string> = {};
    for (const [, name, value] of (match[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) labels[name!] = value!;
    samples.push({ name: match[1]!, labels, value: match[3] === "+Inf" ? Infinity : Number(match[3]) });
  }
  return samples;
}

export interface RouteFigures {
  route: string;
  requests: number;
  failed: number;
  /** Upper ends of the buckets that hold the median and the 99th of a hundred, in milliseconds. */
  p50: number;
  p99: number;
}

/** Requests, defects (5xx) and times of each route; what the page itself is made of is left out. */
export function routeFigures(samples: Sample[]): RouteFigures[] {
  const routes = new Map<string, { requests: number; failed: number; buckets: [number, number][] }>();
  const of = (route: string) => {
    if (!routes.has(route)) routes.set(route, { requests: 0, failed: 0, buckets: [] });
    return routes.get(route)!;
  };
  for (const { name, labels, value } of samples) {
    const route = labels.route;
    if (!route?.startsWith("/v1")) continue;
    if (name === "semface_http_requests_total") {
      of(route).requests += value;
      if (labels.status?.startsWith("5")) of(route).failed += value;
    } else if (name === "semface_http_request_seconds_bucket") {
      of(route).buckets.push([labels.le === "+Inf" ? Infinity : Number(labels.le), value]);
    }
  }
  return [...routes]
    .map(([route, { requests, failed, buckets }]) => ({
      route,
      requests,
      failed,
      p50: quantile(buckets, 0.5) * 1000,
      p99: quantile(buckets, 0.99) * 1000,
    }))
    .sort((one, other) => other.requests - one.requests);
}

/** The upper end of the bucket, of cumulative `buckets`, in which the share `q` is reached. */
export function quantile(buckets: [number, number][], q: number): number {
  const sorted = [...buckets].sort((one, other) => one[0] - other[0]);
  const total = sorted.at(-1)?.[1] ?? 0;
  if (total === 0) return NaN;
  return sorted.find(([, count]) => count >= q * total)![0];
}
