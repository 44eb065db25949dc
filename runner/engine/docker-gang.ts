/** The network that the containers of one gang share: a bridge without a way out, known to nobody else. */
import { createHash } from "node:crypto";
import { askDocker, askDockerUnless, type DockerClient } from "../../core/docker-client.ts";
import { fail } from "../../core/errors.ts";
import { gangBridges } from "./docker-network.ts";
import { FABRIC_LABEL, gangNetworkName, NODE_LABEL } from "./docker-profile.ts";

const GANG_LABEL = "fabric.gang";

export interface GangOwner {
  fabric: string;
  node: string;
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
  /** Of this gang, or of all of this node's; one that containers are on stays. */
  end(gang?: string): Promise<void>;
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
      for (const { Id } of found) await askDockerUnless([403, 404], () => docker.getNetwork(Id).remove());
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
