/**
 * Room for a gang on several nodes: idle containers there have to give way, too, but only where that is enough for all of it.
 * The runner that asks hears from each other one what is idle there, decides, and has it ended.
 */
import type { Booking, CapacityLedger, CapacityRequest, NodeFacts } from "../core/capacity-ledger.ts";
import type { Clock } from "../core/clock.ts";
import { newId } from "../core/ids.ts";
import type { FunctionKey } from "../core/invocation.ts";
import type { Log } from "../core/log.ts";
import { canMeet, placesOn } from "../core/places.ts";
import type { Container } from "./container-contract.ts";
import { bookedBy, keyOf } from "./container-plan.ts";
import type { Link, Session, SessionEvents } from "./link.ts";

/** An idle container, or gang, and what the ledger has of it, on whichever nodes. */
interface Idle {
  container: string;
  booked: string[];
  idleMs: number;
}

type ToIdle = { type: "idle?"; key: FunctionKey } | { type: "end"; containers: string[] };
type FromIdle = { type: "idle"; idle: Idle[] } | { type: "ended" };

export interface FarRoom {
  /** Ends idle containers for so many such containers; answers whether it did, so that another look is worth it. */
  make(request: CapacityRequest, count: number): Promise<boolean>;
  /** Another runner asks. */
  answer(session: Session): SessionEvents;
}

export interface FarRoomDeps {
  link: Link;
  capacity: Pick<CapacityLedger, "nodes" | "bookings">;
  node: string;
  clock: Clock;
  log: Log;
  /** Of this node, of all functions. */
  containers(): Container[];
  /** Gives its booking back, once it has ended. */
  giveBack(container: Container): Promise<void>;
}

/** How names of such sessions begin. */
export const ROOM_SESSION = "room";
/** Between two inputs of a busy function lies less. */
const IDLE_MS = 200;
/** Whoever has not answered by then has nothing idle. */
const ANSWER_MS = 2_000;

export function createFarRoom(deps: FarRoomDeps): FarRoom {
  const { link, capacity, node, clock, log } = deps;
  let making = false;

  function idleHere(key: FunctionKey): Idle[] {
    return deps
      .containers()
      .filter((one) => one.phase() === "ready" && one.busy() === 0 && keyOf(one.plan) !== key)
      .map((one) => ({
        container: one.id,
        booked: [...bookedBy(one, node).values()].flat(),
        idleMs: clock.monotonic() - one.idleSince(),
      }))
      .filter(({ idleMs }) => idleMs >= IDLE_MS);
  }

  async function endHere(containers: readonly string[]): Promise<void> {
    const idle = deps.containers().filter(({ id }) => containers.includes(id));
    const ending = idle.filter((one) => one.phase() === "ready" && one.busy() === 0);
    for (const one of ending) one.drain();
    await Promise.all(ending.map((one) => one.ended.then(() => deps.giveBack(one))));
  }

  /** One question to another runner; nothing when it does not answer in time. */
  function ask<Answer extends FromIdle["type"]>(peer: string, question: ToIdle, _answer: Answer) {
    return new Promise<Extract<FromIdle, { type: Answer }> | undefined>((resolve) => {
      const session = link.open(peer, `${ROOM_SESSION}-${newId("con")}`, {
        onMessage: (message) => done(message as Extract<FromIdle, { type: Answer }>),
        onBroken: () => done(undefined),
      });
      const stop = clock.after(ANSWER_MS, () => done(undefined));
      const done = (answer: Extract<FromIdle, { type: Answer }> | undefined): void => {
        stop();
        session.close();
        resolve(answer);
      };
      session.send(question);
    });
  }

  async function make(request: CapacityRequest, count: number): Promise<boolean> {
    const all = await capacity.nodes();
    const own = all.find(({ id }) => id === node);
    const group = all.filter((one) => one === own || (own && !one.draining && canMeet(own, one)));
    const bookings = await Promise.all(group.map(async ({ id }) => capacity.bookings(id)));
    const answers = await Promise.all(
      group.map(async ({ id }) => {
        const question = { type: "idle?", key: request.key } as const;
        const idle = id === node ? idleHere(request.key) : ((await ask(id, question, "idle"))?.idle ?? []);
        return idle.map((one) => ({ ...one, at: id }));
      }),
    );
    const victims = enough(group, bookings, answers.flat(), request, count);
    if (!victims || victims.length === 0) return false;
    log.info({ victims: victims.map((one) => one.container), for: request.key }, "ending idle containers for a gang");
    await Promise.all(
      group.map(({ id }) => {
        const containers = victims.filter(({ at }) => at === id).map(({ container }) => container);
        if (containers.length === 0) return undefined;
        return id === node ? endHere(containers) : ask(id, { type: "end", containers }, "ended");
      }),
    );
    return true;
  }

  return {
    async make(request, count) {
      if (making) return false;
      making = true;
      try {
        return await make(request, count);
      } finally {
        making = false;
      }
    },
    answer(session) {
      const reply = (message: FromIdle): void => {
        session.send(message);
        session.close();
      };
      return {
        onMessage(header) {
          const message = header as ToIdle;
          if (message.type === "idle?") return reply({ type: "idle", idle: idleHere(message.key) });
          endHere(message.containers).then(
            () => reply({ type: "ended" }),
            (err: unknown) => log.error({ err }, "idle containers could not be ended for another node's gang"),
          );
        },
        onBroken() {},
      };
    },
  };
}

/** The longest idle ones whose end makes room for `count` containers; nothing when not even all of them do. Pure. */
export function enough<One extends Idle>(
  nodes: readonly NodeFacts[],
  bookings: readonly (readonly Booking[])[],
  idle: readonly One[],
  wish: Parameters<typeof placesOn>[2],
  count: number,
): One[] | undefined {
  const without = (victims: readonly One[]): number => {
    const gone = new Set(victims.flatMap(({ booked }) => booked));
    const left = bookings.map((all) => all.filter(({ container }) => !gone.has(container)));
    return nodes.reduce((sum, node, i) => sum + placesOn(node, left[i]!, wish), 0);
  };
  if (without(idle) < count) return undefined;
  let victims: One[] = [];
  for (const one of [...idle].sort((a, b) => b.idleMs - a.idleMs)) {
    if (without(victims) >= count) break;
    victims.push(one);
  }
  // What turned out not to help stays.
  for (const one of victims) {
    const others = victims.filter((other) => other !== one);
    if (without(others) >= count) victims = others;
  }
  return victims;
}
