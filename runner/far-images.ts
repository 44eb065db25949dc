/** Images on the other nodes that a gang may be spread to: whoever lacks the image begins to fetch it, and is left out until it has it. */
import type { CapacityLedger, CapacityRequest } from "../core/capacity-ledger.ts";
import type { Clock } from "../core/clock.ts";
import { newId } from "../core/ids.ts";
import { canMeet, placesOn } from "../core/places.ts";
import type { Images } from "./images.ts";
import type { Link, Session, SessionEvents } from "./link.ts";

export interface FarImages {
  /** By node, what keeps it from taking some of these `count` containers. Nobody is asked while this node has room for all. */
  lacking(request: CapacityRequest, count: number, ref: string): Promise<Map<string, string>>;
  /** This node or another did not find it although it had it: all are asked anew. */
  lost(ref: string): void;
  /** Another runner asks. */
  answer(session: Session): SessionEvents;
}

export interface FarImagesDeps {
  link: Pick<Link, "open">;
  capacity: Pick<CapacityLedger, "nodes" | "bookings">;
  node: string;
  images: Pick<Images, "lacking" | "lost">;
  clock: Clock;
}

interface Question {
  ref: string;
  /** It was not found where it was said to be. */
  anew: boolean;
}
interface Answer {
  lacking?: string;
}

/** How names of such sessions begin. */
export const IMAGE_SESSION = "image";
const ANSWER_MS = 2_000;

export function createFarImages({ link, capacity, node, images, clock }: FarImagesDeps): FarImages {
  /** Nodes that said that they have it. */
  const there = new Map<string, Set<string>>();
  const doubted = new Set<string>();

  /** What the other one lacks; one that does not answer takes none now. */
  const ask = (peer: string, question: Question): Promise<Answer> =>
    new Promise((resolve) => {
      const session = link.open(peer, `${IMAGE_SESSION}-${newId("con")}`, {
        onMessage: (message) => done(message as Answer),
        onBroken: () => done({ lacking: "its runner does not answer" }),
      });
      const stop = clock.after(ANSWER_MS, () => done({ lacking: "its runner has not answered yet" }));
      const done = (answer: Answer): void => {
        stop();
        session.close();
        resolve(answer);
      };
      session.send(question);
    });

  return {
    async lacking(request, count, ref) {
      const nodes = await capacity.nodes();
      const own = nodes.find(({ id }) => id === node);
      const peers = nodes.filter((one) => own && one !== own && canMeet(own, one)).map(({ id }) => id);
      if (!own || peers.length === 0) return new Map();
      const fits = placesOn(own, await capacity.bookings(node), request) >= count;
      if (fits) return new Map(peers.map((id) => [id, "it is not needed"]));
      const known = there.get(ref) ?? new Set();
      there.set(ref, known);
      const asked = peers.filter((id) => !known.has(id));
      const anew = doubted.delete(ref);
      const answers = await Promise.all(asked.map(async (id) => ({ id, ...(await ask(id, { ref, anew })) })));
      for (const { id, lacking } of answers) if (lacking === undefined) known.add(id);
      return new Map(answers.flatMap(({ id, lacking }) => (lacking === undefined ? [] : [[id, lacking] as const])));
    },

    lost(ref) {
      images.lost(ref);
      there.delete(ref);
      doubted.add(ref);
    },

    answer(session) {
      return {
        onMessage(header) {
          const { ref, anew } = header as Question;
          if (anew) images.lost(ref);
          images.lacking(ref).then((lacking) => {
            session.send({ lacking });
            session.close();
          });
        },
        onBroken() {},
      };
    },
  };
}
