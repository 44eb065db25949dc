/** The network of a gang on several nodes, where the engine needs one: made by a node that can, and kept for as long as its lead asks. */
import type { CapacityLedger } from "../core/capacity-ledger.ts";
import type { Clock } from "../core/clock.ts";
import type { ContainerEngine } from "../core/engine.ts";
import { asFabricError, type ErrorBody, FabricError, fail } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { canMeet } from "../core/places.ts";
import type { Link, Session, SessionEvents } from "./link.ts";

export interface GangNetwork {
  /** Its containers are gone. */
  end(): void;
}

export interface GangNetworks {
  /** Before any of its containers starts. */
  make(gang: string): Promise<GangNetwork>;
  /** Another node's runner, whose engine cannot, asks for one. */
  answer(session: Session): SessionEvents;
}

export interface GangNetworksDeps {
  engine: ContainerEngine;
  link: Link;
  capacity: Pick<CapacityLedger, "nodes">;
  node: string;
  clock: Clock;
  log: Log;
}

/** How names of such sessions begin. */
export const NETWORK_SESSION = "network-";
/** Containers on other nodes may leave it later than their lead hears of their end. */
const AGAIN_MS = 1_000;
const TRIES = 60;

export function createGangNetworks(deps: GangNetworksDeps): GangNetworks {
  const { engine, link, clock, log } = deps;

  function remove(gang: string, tries = TRIES): void {
    engine
      .endGang(gang)
      .catch((err: unknown) => {
        log.warn({ err, gang }, "a gang's network could not be removed yet");
        return false;
      })
      .then((isGone) => {
        if (!isGone && tries > 1) clock.after(AGAIN_MS, () => remove(gang, tries - 1));
      });
  }

  /** A session that lasts as long as the gang: when its lead is lost, the network goes, too. */
  function askFor(peer: string, gang: string): Promise<GangNetwork> {
    const name = `${NETWORK_SESSION}${gang}`;
    return new Promise((resolve, reject) => {
      let isBroken = false;
      // A maker that was started anew finds it by its label.
      const end = (): void => {
        const told = isBroken ? link.open(peer, name, { onMessage() {}, onBroken() {} }) : session;
        told.send({ type: "end" });
      };
      const session = link.open(peer, name, {
        onMessage(message) {
          const { error } = message as { error?: ErrorBody };
          if (error) {
            session.close();
            reject(new FabricError(error.code, error.message, error.details));
          } else resolve({ end });
        },
        onBroken(why) {
          isBroken = true;
          reject(new FabricError("engine_unavailable", why));
        },
      });
      session.send({ type: "make" });
    });
  }

  return {
    async make(gang) {
      const nodes = await deps.capacity.nodes();
      const own = nodes.find(({ id }) => id === deps.node);
      const able = nodes.filter((one) => one.makesNetworks && own !== undefined && canMeet(own, one));
      if (engine.name === "process") return { end() {} };
      if (own?.makesNetworks) {
        await engine.spanGang(gang);
        return { end: () => remove(gang) };
      }
      const [maker] = able;
      if (!maker)
        fail(
          "engine_unavailable",
          "no runner is on a manager of this node's Swarm: nobody can make a network for gangs",
        );
      return askFor(maker.id, gang);
    },

    answer(session) {
      const gang = session.gang.slice(NETWORK_SESSION.length);
      return {
        onMessage(message) {
          if ((message as { type: string }).type === "make")
            engine.spanGang(gang).then(
              () => session.send({}),
              (thrown: unknown) => session.send({ error: asFabricError(thrown).toBody() }),
            );
          else {
            session.close();
            remove(gang);
          }
        },
        onBroken: () => remove(gang),
      };
    },
  };
}
