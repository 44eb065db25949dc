/** How many more containers a node has room for, beside what is booked there. Pure; book.lua decides by the same sums. */
import type { Booking, CapacityRequest, NodeFacts } from "./capacity-ledger.ts";

type Wish = Pick<CapacityRequest, "cpuMillis" | "memoryBytes" | "gpu">;

export function placesOn(node: NodeFacts, bookings: readonly Booking[], wish: Wish): number {
  const sum = (of: (booking: Booking) => number): number => bookings.reduce((all, one) => all + of(one), 0);
  const fits = (free: number, each: number): number =>
    each > 0 ? Math.max(0, Math.floor(free / each)) : Number.POSITIVE_INFINITY;
  const { gpu } = wish;
  const held = new Set(bookings.flatMap(({ gpus }) => gpus));
  const isFree = ({ uuid, model }: NodeFacts["gpus"][number]): boolean =>
    !held.has(uuid) && (gpu!.model === "any" || model.toLowerCase().includes(gpu!.model.toLowerCase()));
  return Math.min(
    // What waits for calls has lent its place.
    fits(node.cpuMillis - sum((one) => (one.waits ? 0 : one.cpuMillis)), wish.cpuMillis),
    fits(node.memoryBytes - sum((one) => one.memoryBytes), wish.memoryBytes),
    gpu ? fits(node.gpus.filter(isFree).length, gpu.count) : Number.POSITIVE_INFINITY,
  );
}

/** They can have a gang together. */
export const canMeet = (one: NodeFacts, other: NodeFacts): boolean =>
  one.engine === other.engine && (one.meets ?? []).some((name) => other.meets?.includes(name));
