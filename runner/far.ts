/** What concerns gangs on several nodes, put together: the link to other runners, and what is said over it. */
import type { CapacityLedger } from "../core/capacity-ledger.ts";
import type { PostStore } from "../core/post-store.ts";
import type { Container } from "./container-contract.ts";
import { createFarImages, type FarImages, IMAGE_SESSION } from "./far-images.ts";
import { createFarRoom, type FarRoom, ROOM_SESSION } from "./far-room.ts";
import { createGangNetworks, type GangNetworks, NETWORK_SESSION } from "./gang-networks.ts";
import { createHosting, type Hosting, type HostingDeps } from "./hosting.ts";
import type { Images } from "./images.ts";
import { createLink, type Link, type LinkDeps } from "./link.ts";
import { giveBack } from "./room.ts";

export interface FarDeps extends Omit<HostingDeps, "state">, Pick<LinkDeps, "probe"> {
  state: { capacity: CapacityLedger; posts: PostStore };
  images: Pick<Images, "lacking" | "lost">;
  /** Of this node, of all functions. */
  containers(): Container[];
}

export interface Far {
  link: Link;
  room: FarRoom;
  images: FarImages;
  networks: GangNetworks;
  hosting: Hosting;
  start(): Promise<void>;
}

export function createFar(deps: FarDeps): Far {
  const { capacity, posts } = deps.state;
  const { node } = deps.identity;
  const link = createLink({ ...deps, posts, node });
  const room = createFarRoom({ ...deps, link, capacity, node, giveBack: (one) => giveBack(capacity, node, one) });
  const images = createFarImages({ ...deps, link, capacity, node });
  const networks = createGangNetworks({ ...deps, link, capacity, node });
  const hosting = createHosting(deps);
  return {
    ...{ link, room, images, networks, hosting },
    async start() {
      await link.start((session) => {
        if (session.gang.startsWith(ROOM_SESSION)) return room.answer(session);
        if (session.gang.startsWith(IMAGE_SESSION)) return images.answer(session);
        return session.gang.startsWith(NETWORK_SESSION) ? networks.answer(session) : hosting.host(session);
      });
      hosting.start();
    },
  };
}
