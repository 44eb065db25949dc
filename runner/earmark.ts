/** Makes room on this node for the gang that has waited longest, wherever its lead is: as for a function that asks for its fair share. */
import type { Booking, CapacityLedger, Earmark, NodeFacts } from "../core/capacity-ledger.ts";
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { Turns } from "./turns.ts";

export interface EarmarkDeps {
  capacity: Pick<CapacityLedger, "earmark" | "bookings">;
  facts: NodeFacts;
  turns: Pick<Turns, "refused">;
  clock: Clock;
  log: Log;
}

const LOOK_MS = 1_000;
const MIB = 1024 * 1024;

export function followEarmark({ capacity, facts, turns, clock, log }: EarmarkDeps) {
  let stop = (): void => {};

  async function look(): Promise<void> {
    const mark = await capacity.earmark();
    if (!mark?.quota[facts.id]) return;
    const lack = lackHere(mark, facts, await capacity.bookings(facts.id));
    if (lack) turns.refused(mark.key, lack);
  }

  function schedule(): void {
    stop = clock.after(LOOK_MS, () => {
      look().catch((err: unknown) => log.debug({ err }, "what is kept for a gang was not looked up"));
      schedule();
    });
  }

  return { start: schedule, stop: () => stop() };
}

/** What the node has too little of, in the words of the ledger's refusals; undefined when what it keeps for the gang is free. Pure. */
export function lackHere(mark: Earmark, facts: NodeFacts, bookings: readonly Booking[]): string | undefined {
  const count = mark.quota[facts.id]!;
  const sum = (of: (booking: Booking) => number): number => bookings.reduce((all, one) => all + of(one), 0);
  if (mark.gpu) {
    const { model, count: each } = mark.gpu;
    const isModel = (gpu: NodeFacts["gpus"][number]): boolean =>
      model === "any" || gpu.model.toLowerCase().includes(model.toLowerCase());
    const uuids = facts.gpus.filter(isModel).map(({ uuid }) => uuid);
    const holders = bookings.filter(({ gpus }) => gpus.some((uuid) => uuids.includes(uuid)));
    const free = uuids.length - holders.flatMap(({ gpus }) => gpus).length;
    const held = [...new Set(holders.map(({ key }) => `, held by ${key}`))].join("");
    if (free < count * each) return `no ${model} free: ${count * each} asked, ${free} free on ${facts.id}${held}`;
  }
  const cpu = facts.cpuMillis - sum((one) => (one.waits ? 0 : one.cpuMillis));
  if (cpu < count * mark.cpuMillis)
    return `no cpu: ${(count * mark.cpuMillis) / 1000} asked, ${cpu / 1000} free on ${facts.id}`;
  const memory = Math.floor((facts.memoryBytes - sum((one) => one.memoryBytes)) / MIB);
  const wanted = Math.ceil((count * mark.memoryBytes) / MIB);
  return memory < wanted ? `no memory: ${wanted} MiB asked, ${memory} MiB free on ${facts.id}` : undefined;
}
