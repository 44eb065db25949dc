/** Finds calls that only those who wait for them could make room for: nothing but giving them up ends such a wait. */

import type { Booking, CapacityRequest, NodeFacts } from "./capacity-ledger.ts";
import { invocationOf } from "./invocation.ts";

export type Needs = Pick<CapacityRequest, "memoryBytes" | "gpu"> & {
  /** Attempts one of which has to end first: they run under its key. */
  holders?: string[];
};

export interface WaitGraph {
  nodes: Pick<NodeFacts, "id" | "memoryBytes" | "gpus">[];
  /** Those that say what they wait for matter; all others end some day. */
  bookings: (Pick<Booking, "container" | "memoryBytes" | "gpus" | "waits"> & { node: string })[];
  /** Calls that are waited for and have not ended: what a queued one needs; those that run need nothing more. */
  calls: ReadonlyMap<string, Needs | "running">;
}

interface Waiter {
  attempt: string;
  calls: string[];
  booking: WaitGraph["bookings"][number];
}

/**
 * Starts from all that wait, and lets go of everybody whose calls can end: that have ended, run in something that is not stuck
 * itself, or fit once all that is not stuck has gone; parked ones once one of those that run under their key ends. What is left can only wait for itself. Answers its queued calls, sorted.
 */
export function deadlocked(graph: WaitGraph): string[] {
  const stuck = new Set<Waiter>(graph.bookings.flatMap(waitersOf));
  const fits = (needs: Needs): boolean => graph.nodes.some((node) => fitsBeside(needs, node, stuck));
  const canEnd = (call: string): boolean => {
    const now = graph.calls.get(call);
    if (now === undefined) return true;
    const isStuck = (is: (attempt: string) => boolean): boolean => [...stuck].some(({ attempt }) => is(attempt));
    if (now === "running") return !isStuck((attempt) => invocationOf(attempt) === call);
    return now.holders ? !now.holders.every((holder) => isStuck((attempt) => attempt === holder)) : fits(now);
  };
  for (let before = -1; before !== stuck.size; ) {
    before = stuck.size;
    for (const waiter of stuck) if (waiter.calls.every(canEnd)) stuck.delete(waiter);
  }
  const calls = new Set([...stuck].flatMap((one) => one.calls));
  return [...calls].filter((call) => isQueued(graph.calls.get(call)) && !canEnd(call)).sort();
}

const isQueued = (now: Needs | "running" | undefined): boolean => now !== undefined && now !== "running";

const waitersOf = (booking: WaitGraph["bookings"][number]): Waiter[] =>
  (booking.waits ?? []).map((line) => {
    const [attempt, ...calls] = line.split(" ");
    return { attempt: attempt!, calls, booking };
  });

function fitsBeside({ memoryBytes, gpu }: Needs, node: WaitGraph["nodes"][number], stuck: Set<Waiter>): boolean {
  const held = new Set([...stuck].map(({ booking }) => booking).filter((booking) => booking.node === node.id));
  let memory = node.memoryBytes;
  const gpus = new Set<string>();
  for (const booking of held) {
    memory -= booking.memoryBytes;
    for (const uuid of booking.gpus) gpus.add(uuid);
  }
  if (memoryBytes > memory) return false;
  if (!gpu) return true;
  const matches = (model: string): boolean =>
    gpu.model === "any" || model.toLowerCase().includes(gpu.model.toLowerCase());
  return node.gpus.filter((one) => !gpus.has(one.uuid) && matches(one.model)).length >= gpu.count;
}
