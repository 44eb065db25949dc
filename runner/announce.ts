/** Tells the other runners and the gateway that this node is there, again and again until it is withdrawn. */

import type { CapacityLedger, NodeFacts } from "../core/capacity-ledger.ts";
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";

export interface AnnounceOptions {
  capacity: CapacityLedger;
  facts: NodeFacts;
  clock: Clock;
  log: Log;
  leaseMs: number;
}

export interface Announced {
  /** It takes no gang's containers of other nodes any more. */
  leaving(): Promise<void>;
  withdraw(): Promise<void>;
}

export async function announce({ capacity, facts, clock, log, leaseMs }: AnnounceOptions): Promise<Announced> {
  let cancel = (): void => {};
  let stopped = false;
  let draining = false;
  const tell = (): Promise<void> => capacity.announce({ ...facts, draining }, leaseMs * 2);
  const schedule = (): void => {
    cancel = clock.after(leaseMs / 3, () => {
      tell()
        .catch((err: unknown) => log.warn({ err }, "this node could not be announced"))
        .finally(() => {
          if (!stopped) schedule();
        });
    });
  };
  await tell();
  schedule();
  return {
    async leaving(): Promise<void> {
      draining = true;
      try {
        await tell();
      } catch (err) {
        log.warn({ err }, "that this node is being stopped was not announced");
      }
    },
    async withdraw(): Promise<void> {
      stopped = true;
      cancel();
      try {
        await capacity.withdraw(facts.id);
      } catch (err) {
        log.warn({ err }, "this node could not be withdrawn; it counts as gone soon");
      }
    },
  };
}
