/** Closed-loop load: a number of callers, each sending its next request when the last one is answered. */

export interface Measured {
  calls: number;
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
}

export async function measure(callers: number, seconds: number, once: () => Promise<void>): Promise<Measured> {
  const durations: number[] = [];
  const start = performance.now();
  const end = start + seconds * 1000;
  const caller = async () => {
    while (performance.now() < end) {
      const before = performance.now();
      await once();
      durations.push(performance.now() - before);
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  const elapsed = (performance.now() - start) / 1000;
  return { calls: durations.length, perSecond: durations.length / elapsed, ...distribution(durations) };
}

export function distribution(durations: number[]): { p50Ms: number; p99Ms: number } {
  const sorted = [...durations].sort((a, b) => a - b);
  const at = (fraction: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))] ?? 0;
  return { p50Ms: at(0.5), p99Ms: at(0.99) };
}

export interface Row extends Measured {
  name: string;
  callers: number;
}

/** Prints the rows with their ratio to the row called `reference` of the same number of callers. */
export function printTable(rows: Row[], reference: string): void {
  const head = ["", "callers", "p50 ms", "p99 ms", "calls/s", `p50 / ${reference}`, `calls/s / ${reference}`];
  const lines = rows.map((row) => {
    const base = rows.find((other) => other.name === reference && other.callers === row.callers)!;
    return [
      row.name,
      String(row.callers),
      row.p50Ms.toFixed(2),
      row.p99Ms.toFixed(2),
      row.perSecond.toFixed(0),
      (row.p50Ms / base.p50Ms).toFixed(2),
      (row.perSecond / base.perSecond).toFixed(2),
    ];
  });
  console.log(`| ${head.join(" | ")} |\n|${head.map(() => "---|").join("")}`);
  for (const line of lines) console.log(`| ${line.join(" | ")} |`);
}
