/** Room for containers on this node: booked in the ledger that all runners share, made by evicting what is idle. */
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { FunctionSpec, VersionManifest } from "../core/spec.ts";
import type { CapacityLedger } from "../core/state-store.ts";
import { untilDone } from "../core/until-done.ts";
import type { Container } from "./container-contract.ts";
import { capacityRequest, keyOf } from "./container-plan.ts";

export interface Room {
  book(
    container: string,
    fn: FunctionSpec,
    manifest: VersionManifest,
  ): Promise<{ gpus: string[] } | { refused: string }>;
  /** Gives the booking back once the container is gone altogether. */
  release(container: string, gone: Promise<void>): void;
  /** How many more containers may boot now. */
  bootRoom(): number;
}

/** Between two inputs of a busy function lies less. */
const IDLE_MS = 200;

export interface RoomOptions {
  clock: Clock;
  capacity: CapacityLedger;
  node: string;
  log: Log;
  /** Containers that may boot at the same time. */
  maxBoots: number;
  /** Of this node, of all functions. */
  containers(): Container[];
  /** Something was released. */
  onFree(): void;
}

/** Could ending this container be what the refusal asks for? The ledger's words name what is missing. */
export function helps(refused: string, victim: { gpus: string[] }): boolean {
  if (refused.endsWith("(max_containers)") || !refused.startsWith("no ")) return false;
  return /^no (cpu|memory):/.test(refused) || victim.gpus.length > 0;
}

export function createRoom(options: RoomOptions): Room {
  const { capacity, node, log } = options;

  /**
   * The longest idle container; idle ones count as free for whoever needs the room. Not one between two inputs, nor one of
   * the very version that asks: ending it to start it again would only cost.
   */
  const evictable = (refused: string, fn: FunctionSpec, manifest: VersionManifest): Container | undefined =>
    options
      .containers()
      .filter((one) => one.phase() === "ready" && one.busy() === 0 && helps(refused, one.plan))
      .filter(({ plan }) => keyOf(plan) !== keyOf({ fn, manifest }) || plan.manifest.version !== manifest.version)
      .filter((one) => options.clock.monotonic() - one.idleSince() >= IDLE_MS)
      .sort((a, b) => a.idleSince() - b.idleSince())[0];

  const release = async (container: string): Promise<void> => {
    await untilDone(() => capacity.release(node, [container]));
    options.onFree();
  };

  return {
    async book(container, fn, manifest) {
      const wanted = capacityRequest(node, container, fn, manifest);
      for (;;) {
        const answer = await capacity.book([wanted]);
        if (!("refused" in answer)) return { gpus: answer[0]!.gpus };
        const victim = evictable(answer.refused, fn, manifest);
        if (!victim) return answer;
        log.info({ container: victim.id, for: wanted.key, refused: answer.refused }, "evicting an idle container");
        victim.drain();
        await victim.ended;
        await untilDone(() => capacity.release(node, [victim.id]));
      }
    },
    release(container, gone) {
      gone
        .then(() => release(container))
        .catch((err: unknown) => log.error({ err, container }, "a booking could not be released"));
    },
    bootRoom() {
      const booting = options.containers().filter((one) => one.phase() === "booked" || one.phase() === "starting");
      return Math.max(0, options.maxBoots - booting.length);
    },
  };
}
