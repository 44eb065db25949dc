/** The part of the seam to the live state that tells what nodes have and what of it is booked. */
import type { FunctionKey } from "./invocation.ts";

export interface Gpu {
  uuid: string;
  /** As nvidia-smi names it, e.g. "NVIDIA H200". */
  model: string;
  memoryBytes: number;
}

export interface NodeFacts {
  id: string;
  runner: string;
  engine: string;
  hostname: string;
  cpuMillis: number;
  memoryBytes: number;
  gpus: Gpu[];
  startedAt: number;
  /** Nodes of one engine with one of these in common can reach each other's containers: a gang may be on several of them. */
  meets?: string[];
  /** Where ranks on other nodes reach those of the process engine. */
  address?: string;
  /** Its runner can make the network of a gang on several nodes. */
  makesNetworks?: boolean;
  /** Its runner is being stopped: no gang's containers are sent there any more. */
  draining?: boolean;
}

export interface CapacityRequest {
  node: string;
  container: string;
  key: FunctionKey;
  cpuMillis: number;
  memoryBytes: number;
  /** How many, of which model ("any" for whichever); absent for none. */
  gpu?: { model: string; count: number };
  /** Of this function, over all nodes, this one included. */
  maxContainers: number;
}

export interface Booking {
  container: string;
  node: string;
  key: FunctionKey;
  cpuMillis: number;
  memoryBytes: number;
  gpus: string[];
  /** The node whose runner booked it, where that is another one: it is of a gang on several nodes. */
  lead?: string;
  /** Everything inside waits for calls: a line for each attempt, its id and the calls it cannot do without, by spaces. */
  waits?: string[];
}

/** What is kept free for the gang that has waited longest, while it asks: room for so many of its containers on each of these nodes. */
export interface Earmark extends Pick<CapacityRequest, "key" | "cpuMillis" | "memoryBytes" | "gpu"> {
  quota: Record<string, number>;
}

/** What each node has and what of it is booked: one ledger for all runners. */
export interface CapacityLedger {
  /** Announces or refreshes a node; it counts as gone when not refreshed for `ttlMs`. */
  announce(node: NodeFacts, ttlMs: number): Promise<void>;
  withdraw(node: string): Promise<void>;
  nodes(): Promise<NodeFacts[]>;
  /**
   * All requests or none. Answers the bookings in order, or in words what is missing ("no memory: 512 MiB asked, 100 MiB free on nod_x").
   * Those of a `gang` are alike, and may go to other nodes that meet the one they name, which has the first; not to those `without`
   * its image. `waitedMs`: since it was refused first. After 30 s nobody else is given what the gang needs.
   */
  book(
    requests: CapacityRequest[],
    gang?: { waitedMs: number; without?: string[] },
  ): Promise<Booking[] | { refused: string }>;
  earmark(): Promise<Earmark | undefined>;
  release(node: string, containers: string[]): Promise<void>;
  /** By container: what everything inside waits for; meanwhile its cpu is lent, and it does not count for max_containers. Empty: no more. */
  lend(node: string, waits: Record<string, string[]>): Promise<void>;
  bookings(node: string): Promise<Booking[]>;
}
