/** What functions and nodes do now, for `fabric top`. */
import { z } from "@hono/zod-openapi";
import type { FunctionKey } from "../core/invocation.ts";
import { sumLoads } from "../core/load.ts";
import type { GatewayDeps } from "./deps.ts";

const functionLoadSchema = z.object({
  function: z.string(),
  /** Calls in its queue. */
  queued: z.number().int(),
  /** Inputs that have a slot. */
  running: z.number().int(),
  /** Inputs taken by a runner that wait for a slot. */
  waiting: z.number().int(),
  slots: z.number().int(),
  containers: z.number().int(),
  starting: z.number().int(),
  callsPerSecond: z.number(),
  /** Of the latest inputs, ms. */
  p50Ms: z.number().optional(),
  /** What another container lacks. */
  missing: z.string().optional(),
});

const nodeLoadSchema = z.object({
  node: z.string(),
  hostname: z.string(),
  engine: z.string(),
  containers: z.number().int(),
  /** Booked, and what there is. */
  cpu: z.tuple([z.number(), z.number()]),
  memoryMiB: z.tuple([z.number(), z.number()]),
  gpus: z.tuple([z.number(), z.number()]),
});

export const overviewSchema = z
  .object({ at: z.iso.datetime(), functions: z.array(functionLoadSchema), nodes: z.array(nodeLoadSchema) })
  .openapi("Load");
export type Overview = z.infer<typeof overviewSchema>;

const MIB = 1024 * 1024;

export async function overview({
  state,
  queue,
  waits,
  clock,
}: Pick<GatewayDeps, "state" | "queue" | "waits" | "clock">): Promise<Overview> {
  const { nodes, loads } = await waits.fleet();
  const keys = [...new Set<FunctionKey>([...loads.keys(), ...(await state.hints.functionsWithWork())])].sort();
  const functions = await Promise.all(
    keys.map(async (key) => {
      const queued = await queue.depth(key);
      const { busy, waiting, slots, containers, booting, callsPerSecond, p50Ms, missing } =
        loads.get(key) ?? sumLoads([]);
      const load = { waiting, slots, containers, callsPerSecond, p50Ms, missing };
      return { function: key, queued, running: busy, starting: booting, ...load };
    }),
  );
  const shown = await Promise.all(
    nodes.map(async ({ id, hostname, engine, cpuMillis, memoryBytes, gpus }) => {
      const bookings = await state.capacity.bookings(id);
      const sum = (pick: (booking: (typeof bookings)[number]) => number) =>
        bookings.reduce((total, one) => total + pick(one), 0);
      return {
        ...{ node: id, hostname, engine, containers: bookings.length },
        cpu: [sum((one) => one.cpuMillis) / 1000, cpuMillis / 1000] as [number, number],
        memoryMiB: [sum((one) => one.memoryBytes) / MIB, memoryBytes / MIB].map(Math.round) as [number, number],
        gpus: [sum((one) => one.gpus.length), gpus.length] as [number, number],
      };
    }),
  );
  return { at: new Date(clock.now()).toISOString(), functions, nodes: shown };
}
