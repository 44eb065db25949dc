/** Room for containers on this node: booked in the ledger that all runners share, made by evicting what is idle. */

import type { CapacityLedger } from "../core/capacity-ledger.ts";
import type { Clock } from "../core/clock.ts";
import { isGang } from "../core/gang.ts";
import type { Log } from "../core/log.ts";
import type { FunctionSpec, VersionManifest } from "../core/spec.ts";
import { untilDone } from "../core/until-done.ts";
import type { Container } from "./container-contract.ts";
import { bookedBy, capacityRequest, keyOf } from "./container-plan.ts";
import { lacking } from "./fair-share.ts";
import { amountHeld, type Turns } from "./turns.ts";

export interface Room {
  /** All these containers or none; answers the GPUs of each. */
  book(
    containers: string[],
    fn: FunctionSpec,
    manifest: VersionManifest,
  ): Promise<{ gpus: string[][] } | { refused: string }>;
  /** Gives the booking of a container, or of a gang, back once it is gone altogether. */
  release(container: Pick<Container, "id" | "plan" | "ended">): void;
  /** How many more containers may boot now. */
  bootRoom(): number;
}

/** Between two inputs of a busy function lies less. */
const IDLE_MS = 200;
/** A function that holds more than another takes its idle containers only when they have been so for long: who is called now and then stays warm. */
const LONG_IDLE_MS = 10_000;

export interface RoomOptions {
  clock: Clock;
  capacity: CapacityLedger;
  node: string;
  log: Log;
  /** Containers that may boot at the same time. */
  maxBoots: number;
  /** Lends what waits for calls; answers whether there is more room now. */
  lend(): Promise<boolean>;
  /** Of this node, of all functions. */
  containers(): Container[];
  /** Something was released. */
  onFree(): void;
  turns: Turns;
}

/** Could ending this container be what the refusal asks for? The ledger's words name what is missing. */
export function helps(refused: string, victim: { gpus: string[]; isOfSameFunction: boolean }): boolean {
  if (refused.endsWith("(max_containers)")) return victim.isOfSameFunction;
  if (!refused.startsWith("no ")) return false;
  return /^no (cpu|memory):/.test(refused) || victim.gpus.length > 0;
}

export function createRoom(options: RoomOptions): Room {
  const { capacity, node, log, turns } = options;

  const countOf = (key: string): number => options.containers().filter(({ plan }) => keyOf(plan) === key).length;

  /**
   * The longest idle container; idle ones count as free for whoever needs the room. Not one between two inputs, nor one of
   * the very version that asks: ending it to start it again would only cost.
   */
  const evictable = (refused: string, fn: FunctionSpec, manifest: VersionManifest): Container[] =>
    options
      .containers()
      .filter((one) => one.phase() === "ready" && one.busy() === 0)
      .filter(({ plan }) => {
        const isOfSameFunction = keyOf(plan) === keyOf({ fn, manifest });
        const isItself = isOfSameFunction && plan.manifest.version === manifest.version;
        return !isItself && helps(refused, { gpus: plan.gpus, isOfSameFunction });
      })
      .filter((one) => {
        const holdsMore = countOf(keyOf({ fn, manifest })) > countOf(keyOf(one.plan));
        const mostMs = holdsMore && keyOf(one.plan) !== keyOf({ fn, manifest }) ? LONG_IDLE_MS : IDLE_MS;
        return options.clock.monotonic() - one.idleSince() >= mostMs;
      })
      .sort((a, b) => a.idleSince() - b.idleSince());

  /** A gang needs much at once: what would not do is not ended for nothing. */
  function victimFor(refused: string, fn: FunctionSpec, manifest: VersionManifest): Container | undefined {
    const idle = evictable(refused, fn, manifest);
    const lack = lacking(refused);
    if (!isGang(fn) || !lack) return idle[0];
    const comes = idle.reduce((sum, one) => sum + amountHeld(one, lack.what), lack.free);
    return comes >= lack.wanted ? idle[0] : undefined;
  }

  const release = async (container: Pick<Container, "id" | "plan" | "ended">): Promise<void> => {
    await container.ended;
    await untilDone(() => capacity.release(node, bookedBy(container)));
    turns.ended(container.id);
    options.onFree();
  };

  return {
    async book(containers, fn, manifest) {
      const wanted = containers.map((id) => capacityRequest(node, id, fn, manifest));
      const key = keyOf({ fn, manifest });
      for (;;) {
        const others = turns.mustWait(key, fn);
        if (others) return { refused: others };
        // A reply may get lost: the same containers again are answered with what they have.
        const answer = await untilDone(() => capacity.book(wanted));
        if (!("refused" in answer)) {
          turns.served(key);
          return { gpus: answer.map(({ gpus }) => gpus) };
        }
        if (await options.lend()) continue;
        const victim = victimFor(answer.refused, fn, manifest);
        if (!victim) {
          turns.refused(key, answer.refused);
          return answer;
        }
        log.info({ container: victim.id, for: key, refused: answer.refused }, "evicting an idle container");
        victim.drain();
        await victim.ended;
        await untilDone(() => capacity.release(node, bookedBy(victim)));
      }
    },
    release(container) {
      release(container).catch((err: unknown) =>
        log.error({ err, container: container.id }, "a booking could not be released"),
      );
    },
    bootRoom() {
      const booting = options.containers().filter((one) => one.phase() === "booked" || one.phase() === "starting");
      return Math.max(0, options.maxBoots - booting.length);
    },
  };
}
