/** A fabric for fault tests: the app in test/apps/faults.py is deployed and warm, and its executions are journaled. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Final } from "./checker.ts";
import { startFabric, type TestFabric } from "./fabric.ts";
import { check, executionsIn, type Kind, type Load, send, startLoad } from "./load.ts";
import { until } from "./redis.ts";

export interface FaultFabric extends TestFabric {
  /** Seen by functions of the process engine only; absent for others, and not to be given to them. */
  journal: string | undefined;
  load(perSecond: number, kinds?: Kind[]): Load;
  /** Stops the load and fails the test with every promise that was broken. */
  allHolds(load: Load, options?: { disruptions?: number; deadlineMs?: number }): Promise<void>;
  /** A call that is accepted, in the end. */
  ask(fn: string, input: { token: string; [argument: string]: unknown }): Promise<string>;
  /** Until the record says that it runs in a container. */
  running(id: string): Promise<any>;
  /** How often the function's body was entered with this token, or left. */
  executions(token: string, of?: "started" | "ended"): Promise<number>;
  /** A new call is done. */
  works(): Promise<void>;
}

export const KINDS: Kind[] = [
  { fn: "fast", share: 4 },
  { fn: "brief", share: 3 },
  { fn: "shaky", share: 1 },
  { fn: "wrong", share: 1 },
  { fn: "large", share: 1 },
];

export const LEASE_MS = 2_000;

export async function startFaultFabric(
  options: { env?: NodeJS.ProcessEnv; engine?: "docker" | "process"; warm?: string[] } = {},
): Promise<FaultFabric> {
  const fabric = await startFabric({
    engine: options.engine ?? "process",
    app: "faults",
    env: { FABRIC_LEASE_MS: String(LEASE_MS), ...options.env },
  });
  const file = join(fabric.dataDir, "journal");
  await writeFile(file, "");
  const journal = options.engine === "docker" ? undefined : file;
  const ask: FaultFabric["ask"] = (fn, input) =>
    until(
      async () => {
        const reply = await send(fabric, { fn, key: `ask-${input.token.slice(0, 200)}`, ...input });
        return "id" in reply ? reply.id : undefined;
      },
      30_000,
      `${fn} is accepted`,
    );
  try {
    await fabric.json("deploy", "test/apps/faults.py");
    await Promise.all(
      (options.warm ?? ["fast"]).map(async (fn) => fabric.ended(await ask(fn, { token: `warm-${fn}`, journal }))),
    );
  } catch (thrown) {
    await fabric.close();
    throw thrown;
  }
  let latest: Load | undefined;
  return {
    ...fabric,
    journal,
    ask,
    load(perSecond, kinds = KINDS) {
      latest?.abandon(); // of a test that failed before it came to its end
      latest = startLoad({ fabric, journal: file, perSecond, kinds });
      return latest;
    },
    async close() {
      latest?.abandon();
      await fabric.close();
    },
    async allHolds(load, { disruptions = 0, deadlineMs } = {}) {
      const accepted = await load.stop();
      const broken = await check(fabric, accepted, file, { disruptions, ...(deadlineMs ? { deadlineMs } : {}) });
      if (broken.length > 0)
        throw new Error(`${broken.length} of ${accepted.length} accepted:\n${broken.slice(0, 20).join("\n")}`);
    },
    running: (id) =>
      until(
        async () => {
          const record = await fabric.record(id).catch(() => undefined);
          return record?.state === "running" && record.container ? record : undefined;
        },
        30_000,
        `${id} runs in a container`,
      ),
    async executions(token, of = "started") {
      const all = (await executionsIn(file)).filter((one) => one.token === token);
      return all.filter(({ endedAt }) => of === "started" || endedAt !== undefined).length;
    },
    async works() {
      const token = `works-${performance.now()}`;
      const final = (await fabric.ended(await ask("fast", { token, journal }), 30_000)) as Final;
      if (final.state !== "succeeded") throw new Error(`a call after the fault: ${JSON.stringify(final)}`);
    },
  };
}

/** Time that has to pass for what a test is about: a lease, an outage. */
export async function passes(ms: number): Promise<void> {
  const since = performance.now();
  await until(() => performance.now() - since >= ms, ms + 10_000, `${ms} ms pass`);
}
