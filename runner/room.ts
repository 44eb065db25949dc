/** Room for containers on this node: booked in the ledger that all runners share, made by evicting what is idle. */

import type { CapacityLedger, CapacityRequest } from "../core/capacity-ledger.ts";
import type { Clock } from "../core/clock.ts";
import { gangOf, isGang } from "../core/gang.ts";
import type { FunctionKey } from "../core/invocation.ts";
import { FETCHING } from "../core/load.ts";
import type { Log } from "../core/log.ts";
import type { FunctionSpec, VersionManifest } from "../core/spec.ts";
import { untilDone } from "../core/until-done.ts";
import type { Container } from "./container-contract.ts";
import { bookedBy, capacityRequest, keyOf, type PlannedMember } from "./container-plan.ts";
import { lacking } from "./fair-share.ts";
import { amountHeld, type Turns } from "./turns.ts";

export interface Room {
  /** All these containers or none; those of a gang may have to go to several nodes. */
  book(
    containers: string[],
    fn: FunctionSpec,
    manifest: VersionManifest,
  ): Promise<{ places: PlannedMember[] } | { refused: string }>;
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
  /** Ends idle containers here and on other nodes for a gang of `count` such containers; answers whether it did. */
  makeFarRoom(request: CapacityRequest, count: number): Promise<boolean>;
  /** Nodes that the ledger may not know to be gone yet. */
  silent(): string[];
  /** By node, why it cannot take some of `count` such containers yet: it lacks the image. */
  lackingElsewhere(request: CapacityRequest, count: number, image: string): Promise<Map<string, string>>;
}

/** Could ending this container be what the refusal asks for? The ledger's words name what is missing. */
export function helps(refused: string, victim: { gpus: string[]; isOfSameFunction: boolean }): boolean {
  if (refused.endsWith("(max_containers)")) return victim.isOfSameFunction;
  if (!refused.startsWith("no ")) return false;
  return /^no (cpu|memory):/.test(refused) || victim.gpus.length > 0;
}

export function createRoom(options: RoomOptions): Room {
  const { capacity, node, log, turns } = options;
  const refusals = createRefusals(options.clock);

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
    await giveBack(capacity, node, container);
    turns.ended(container.id);
    options.onFree();
  };

  return {
    async book(containers, fn, manifest) {
      const wanted = containers.map((id) => capacityRequest(node, id, fn, manifest));
      const key = keyOf({ fn, manifest });
      const isSpread = gangOf(fn) > 1;
      const without = isSpread
        ? await options.lackingElsewhere(wanted[0]!, wanted.length, manifest.images[fn.image]!.ref)
        : new Map<string, string>();
      for (;;) {
        const others = turns.mustWait(key, fn);
        if (others) return { refused: others };
        // A reply may get lost: the same containers again are answered with what they have.
        const gang = isSpread
          ? { waitedMs: refusals.waited(key), without: [...without.keys(), ...options.silent()] }
          : undefined;
        const answer = await untilDone(() => capacity.book(wanted, gang));
        if (!("refused" in answer)) {
          turns.served(key);
          refusals.forget(key);
          return { places: answer.map(({ container, node: at, gpus }) => ({ id: container, at, gpus })) };
        }
        // Its own limit is no lack of room, for which others would have to give way.
        if (answer.refused.endsWith("(max_containers)")) refusals.forget(key);
        else refusals.note(key);
        if (await options.lend()) continue;
        const victim = victimFor(answer.refused, fn, manifest);
        if (!victim && isOfSeveralNodes(answer.refused) && (await options.makeFarRoom(wanted[0]!, wanted.length)))
          continue;
        if (!victim) {
          // What this node has to give for a gang on several, the earmark says.
          if (!isOfSeveralNodes(answer.refused)) turns.refused(key, answer.refused);
          return coming(without) ?? answer;
        }
        log.info({ container: victim.id, for: key, refused: answer.refused }, "evicting an idle container");
        victim.drain();
        await victim.ended;
        await giveBack(capacity, node, victim);
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

/** That a node may take some once its image is there says more than what the others lack. */
function coming(without: ReadonlyMap<string, string>): { refused: string } | undefined {
  const found = [...without].find(([, lacking]) => lacking.startsWith(FETCHING));
  return found && { refused: `${found[1]} (on ${found[0]})` };
}

/** To the ledger, once it has ended. */
export async function giveBack(
  capacity: Pick<CapacityLedger, "release">,
  node: string,
  container: Pick<Container, "id" | "plan">,
): Promise<void> {
  for (const [at, ids] of bookedBy(container, node)) await untilDone(() => capacity.release(at, ids));
}

/** The ledger has counted what several nodes have. */
const isOfSeveralNodes = (refused: string): boolean => / free on \d+ nodes/.test(refused);

/** Who does not ask for so long does not wait any more. Functions with work ask once a second. */
const FORGET_MS = 5_000;

/** Since when functions have been refused. */
function createRefusals(clock: Clock) {
  const known = new Map<FunctionKey, { since: number; at: number }>();
  const of = (key: FunctionKey) => {
    const found = known.get(key);
    return found && clock.monotonic() - found.at <= FORGET_MS ? found : undefined;
  };
  return {
    waited: (key: FunctionKey): number => Math.round(clock.monotonic() - (of(key)?.since ?? clock.monotonic())),
    note: (key: FunctionKey): void => {
      const at = clock.monotonic();
      known.set(key, { since: of(key)?.since ?? at, at });
    },
    forget: (key: FunctionKey): void => void known.delete(key),
  };
}
