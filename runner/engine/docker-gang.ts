/** The network that the containers of one gang share, without a way out and known to nobody else: a bridge, or over several nodes an overlay of Swarm's. */
import { createHash } from "node:crypto";
import { askDocker, askDockerUnless, type DockerClient } from "../../core/docker-client.ts";
import { fail } from "../../core/errors.ts";
import { gangBridges } from "./docker-network.ts";
import { FABRIC_LABEL, gangNetworkName, NODE_LABEL } from "./docker-profile.ts";

const GANG_LABEL = "fabric.gang";

export interface GangOwner {
  fabric: string;
  node: string;
  /** Overlays are encrypted, which costs much of their speed. */
  encryptOverlays?: boolean;
}

/** Interface names have 15 characters at most; those of a fabric begin alike, so that one rule closes the host to all of them. */
const bridgeOf = (fabric: string, gang: string): string =>
  `${gangBridges(fabric)}${createHash("sha256").update(gang).digest("hex").slice(0, 6)}`;

export interface Gangs {
  /** Its containers start at the same time: the first makes the network, the others wait for it. */
  stands(gang: string): Promise<void>;
  /** A container that has another network joins its gang's before it starts. */
  join(container: string, gang: string): Promise<void>;
  addressOf(container: string): Promise<string>;
  /** An overlay that containers on other nodes of the Swarm join, too. */
  span(gang: string): Promise<void>;
  /** Of this gang, or of all of this node's; one that containers are on stays, which is then told by false. */
  end(gang?: string): Promise<boolean>;
}

export interface Swarm {
  meets: string[];
  makesNetworks: boolean;
}

/** Daemons with a manager in common are in one Swarm; only managers make networks. A worker is not told its Swarm's id. */
export function swarmOf({ Swarm }: { Swarm?: SwarmInfo }): Swarm {
  if (Swarm?.LocalNodeState !== "active") return { meets: [], makesNetworks: false };
  const managers = (Swarm.RemoteManagers ?? []).map(({ NodeID }) => `swarm:${NodeID}`);
  return { meets: managers, makesNetworks: Swarm.ControlAvailable === true };
}

interface SwarmInfo {
  LocalNodeState?: string;
  ControlAvailable?: boolean;
  RemoteManagers?: { NodeID: string }[] | null;
}

export function dockerGangs(client: () => Promise<DockerClient>, owner: GangOwner): Gangs {
  /** Networks that are there, or being made. */
  const made = new Map<string, Promise<void>>();
  const labels = [`${FABRIC_LABEL}=${owner.fabric}`, `${NODE_LABEL}=${owner.node}`];

  async function make(gang: string): Promise<void> {
    const docker = await client();
    // 409: it is there already.
    await askDockerUnless([409], () => docker.createNetwork(networkRequest(owner, gang)));
  }

  return {
    stands(gang) {
      const known = made.get(gang) ?? make(gang);
      made.set(gang, known);
      known.catch(() => made.delete(gang));
      return known;
    },

    async span(gang) {
      const docker = await client();
      await askDockerUnless([409], () => docker.createNetwork(overlayRequest(owner, gang)));
    },

    async join(container, gang) {
      const docker = await client();
      await askDocker(() => docker.getNetwork(gangNetworkName(gang)).connect({ Container: container }));
    },

    async addressOf(container) {
      const docker = await client();
      const { NetworkSettings } = await askDocker(() => docker.getContainer(container).inspect());
      const found = Object.entries(NetworkSettings.Networks).find(([name]) => name.startsWith(gangNetworkName("gng_")));
      return found?.[1].IPAddress || fail("engine_unavailable", `${container} has no address in its gang`);
    },

    async end(gang) {
      if (gang === undefined) made.clear();
      else made.delete(gang);
      const docker = await client();
      const label = [...labels, gang === undefined ? GANG_LABEL : `${GANG_LABEL}=${gang}`];
      const found = await askDocker(() => docker.listNetworks({ filters: { label } }));
      let isGone = true;
      for (const { Id, Driver } of found) {
        const remove = () =>
          docker
            .getNetwork(Id)
            .remove()
            .then(() => "removed" as const);
        // In use: 403 of a bridge, 400 of an overlay.
        const removed = await askDockerUnless([Driver === "overlay" ? 400 : 403, 404], remove);
        isGone &&=
          removed !== undefined || (await askDockerUnless([404], () => docker.getNetwork(Id).inspect())) === undefined;
      }
      return isGone;
    },
  };
}

const networkRequest = ({ fabric, node }: GangOwner, gang: string) =>
  ({
    Name: gangNetworkName(gang),
    CheckDuplicate: true,
    Driver: "bridge",
    Internal: true,
    EnableIPv6: false,
    Labels: { [FABRIC_LABEL]: fabric, [NODE_LABEL]: node, [GANG_LABEL]: gang },
    Options: { "com.docker.network.bridge.name": bridgeOf(fabric, gang) },
  }) as Parameters<DockerClient["createNetwork"]>[0];

const overlayRequest = ({ fabric, node, encryptOverlays }: GangOwner, gang: string) =>
  ({
    Name: gangNetworkName(gang),
    CheckDuplicate: true,
    Driver: "overlay",
    Attachable: true,
    Internal: true,
    Labels: { [FABRIC_LABEL]: fabric, [NODE_LABEL]: node, [GANG_LABEL]: gang },
    Options: encryptOverlays ? { encrypted: "" } : {},
  }) as Parameters<DockerClient["createNetwork"]>[0];
