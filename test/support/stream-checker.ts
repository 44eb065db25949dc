/** What must be true of what a generator yielded, as a reader saw it who came back after every lost connection. */

/** An event as a line, as far as it matters here. */
export interface StreamLine {
  type: string;
  /** Of a chunk, `<generation>-<n>`. */
  id?: string;
  value?: unknown;
  generation?: number;
  state?: string;
}

/** What is left of the stream at its end, and what was wrong with it: gaps, repeats, an attempt that was not announced. */
export function replay(lines: readonly StreamLine[]): {
  values: unknown[];
  state: string | undefined;
  wrong: string[];
} {
  let generation: number | undefined;
  let values: unknown[] = [];
  let state: string | undefined;
  const wrong: string[] = [];
  for (const line of lines) {
    if (state !== undefined) wrong.push(`has a ${line.type} behind its end`);
    if (line.type === "restart") {
      if (line.generation! <= (generation ?? 0)) wrong.push(`starts over as ${line.generation} after ${generation}`);
      generation = line.generation;
      values = [];
    }
    if (line.type === "end") state = line.state;
    if (line.type !== "chunk") continue;
    const [of, n] = line.id!.split("-").map(Number);
    generation ??= of;
    if (of !== generation) wrong.push(`has chunk ${line.id} of an attempt that was not announced`);
    if (n !== values.length) wrong.push(`has chunk ${line.id} in place ${values.length}`);
    values.push(line.value);
  }
  return { values, state, wrong };
}

/** `live` was read while it ran, `after` when it had ended. */
export function streamViolations(
  { live, after }: { live: readonly StreamLine[]; after: readonly StreamLine[] },
  expected: readonly unknown[],
): string[] {
  return Object.entries({ live, after }).flatMap(([how, lines]) => {
    const { values, state, wrong } = replay(lines);
    const isWhole = state === "succeeded" && JSON.stringify(values) === JSON.stringify(expected);
    const told = `ended ${state} after ${JSON.stringify(values)}`;
    return [...wrong, ...(isWhole ? [] : [told])].map((what) => `${how}, ${what}`);
  });
}
