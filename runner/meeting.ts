/** Where the ranks of a gang meet, and which nodes can have one gang together. */
import { readFile, readlink } from "node:fs/promises";
import type { NodeFacts } from "../core/capacity-ledger.ts";
import type { ContainerEngine } from "../core/engine.ts";
import { fail } from "../core/errors.ts";

const LOOPBACK = "127.0.0.1";
/** Runners with one of these in common share a machine and its loopback. */
const MACHINE = "machine:";

/** What a node of the process engine has in common with those whose ranks its own ones can reach. */
export async function processMeets(address: string): Promise<string[]> {
  const boot = (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
  return [`${MACHINE}${boot} ${await readlink("/proc/self/ns/net")}`, ...(address === "" ? [] : ["address"])];
}

/** `nodes`: those a gang on several is on, the one with rank 0 first. */
export async function masterAddress(
  engine: ContainerEngine,
  first: { id: string; containers: number },
  nodes: readonly NodeFacts[],
): Promise<string> {
  if (first.containers === 1) return LOOPBACK;
  if (engine.name !== "process" || nodes.length < 2) return engine.addressOf(first.id);
  const [own, ...others] = nodes;
  const machine = own!.meets?.find((one) => one.startsWith(MACHINE));
  if (machine !== undefined && others.every(({ meets }) => meets?.includes(machine))) return LOOPBACK;
  return (
    own!.address || fail("engine_unavailable", `${own!.id} has no FABRIC_NODE_ADDRESS at which other machines reach it`)
  );
}
