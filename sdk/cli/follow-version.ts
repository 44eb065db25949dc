/** What the functions of one version print, while it runs: an app's log holds the lines of all its versions. */
import { setTimeout as wait } from "node:timers/promises";
import type { Client, LogEntry } from "../typescript/client.ts";

/** Lines reach the store a moment after the call's end; this is how long that moment is waited for. */
const LATE_LINES_MS = [50, 150];
const LATE_LINES = 1_000;
/** Lines of a container of which nobody knows yet whose it is. */
const MAX_HELD = 1_000;

/** Sorts lines by container: a container serves one version, and the first call seen in it tells which. */
export function linesOf(versionOf: (invocation: string) => Promise<string>, version: string) {
  const verdicts = new Map<string, boolean>();
  const held = new Map<string, LogEntry[]>();
  const seen = new Set<LogEntry["seq"]>();

  return async function wanted(line: LogEntry): Promise<LogEntry[]> {
    if (seen.has(line.seq)) return [];
    seen.add(line.seq);
    const container = line.container ?? "";
    const known = verdicts.get(container);
    if (known !== undefined) return known ? [line] : [];
    const before = held.get(container) ?? [];
    if (line.invocation === undefined) {
      held.set(container, [...before, line].slice(-MAX_HELD));
      return [];
    }
    const ours = (await versionOf(line.invocation)) === version;
    verdicts.set(container, ours);
    held.delete(container);
    return ours ? [...before, line] : [];
  };
}

/** Prints until `ended`, then what was still on its way. A lost log stream does not fail the run. */
export async function followVersion(
  client: Client,
  { app, version }: { app: string; version: string },
  print: (line: LogEntry) => void,
  ended: AbortSignal,
): Promise<void> {
  const wanted = linesOf(async (id) => String((await client.invocation(id)).version), version);
  const pass = async (lines: AsyncIterable<LogEntry>): Promise<void> => {
    for await (const line of lines) for (const one of await wanted(line)) print(one);
  };
  try {
    await pass(client.logs(app, { follow: true, tail: 0 }, ended));
  } catch (error) {
    if (!ended.aborted) throw error;
  }
  for (const ms of LATE_LINES_MS) {
    await wait(ms);
    await pass(client.logs(app, { tail: LATE_LINES }, AbortSignal.timeout(5_000)));
  }
}
