/** `fabric top`: what functions and nodes do, again and again on a terminal, once elsewhere. */
import { setTimeout as wait } from "node:timers/promises";
import type { Load } from "../../typescript/client.ts";
import type { Context } from "../context.ts";
import { bytes, table } from "../table.ts";
import { ms } from "./explain.ts";

const EVERY_MS = 1_000;
const HOME_AND_CLEAR = "\u001b[H\u001b[J";

export async function top(
  options: { json?: boolean; once?: boolean },
  { terminal, client, signal }: Context,
): Promise<void> {
  const api = client();
  if (options.json) return terminal.json(await api.load());
  const isLive = terminal.interactive && !options.once;
  do {
    const text = `${overviewLines(await api.load()).join("\n")}\n`;
    terminal.write(isLive ? HOME_AND_CLEAR + text : text);
    if (isLive) await wait(EVERY_MS, undefined, { signal });
  } while (isLive && !signal.aborted);
}

/** Pure; the busiest functions first. */
export function overviewLines({ at, functions, nodes }: Load): string[] {
  const rows = functions
    .toSorted((a, b) => b.queued + b.running - (a.queued + a.running) || b.callsPerSecond - a.callsPerSecond)
    .map(({ queued, waiting, running, slots, containers, starting, callsPerSecond, p50Ms, missing, ...row }) => ({
      ...row,
      ...{ queued: queued + waiting, running: `${running}/${slots}` },
      containers: starting > 0 ? `${containers} (${starting} starting)` : containers,
      "calls/s": callsPerSecond.toFixed(1),
      p50: p50Ms === undefined ? undefined : ms(p50Ms),
      note: missing ?? "",
    }));
  const machines = nodes.map(({ node, hostname, engine, containers, cpu, memoryMiB, gpus }) => ({
    ...{ node, hostname, engine, containers },
    cpu: cpu.join("/"),
    memory: memoryMiB.map((mib) => bytes(mib * 1024 * 1024)).join("/"),
    gpus: gpus.join("/"),
  }));
  return [
    at.replace("T", " ").slice(0, 19),
    "",
    ...(rows.length > 0
      ? table(rows, ["function", "queued", "running", "containers", "calls/s", "p50", "note"])
      : ["no function is in use"]),
    "",
    ...(machines.length > 0
      ? table(machines, ["node", "hostname", "engine", "containers", "cpu", "memory", "gpus"])
      : ["no node is there"]),
  ];
}
