/** Two Docker daemons of a test's own in one Swarm, with a cable between their networks: as on two machines. */

import { startDockerd, type TestDockerd, whyNoDockerd } from "./dockerd.ts";
import { run } from "./fabric.ts";

export interface TestSwarm {
  manager: TestDockerd;
  worker: TestDockerd;
  close(): Promise<void>;
}

/** Why there cannot be one here, or undefined. */
export async function whyNoSwarm(): Promise<string | undefined> {
  const reason = await whyNoDockerd();
  if (reason) return reason;
  const vxlan = "ip link add fabvx type vxlan id 4242 dstport 4789";
  const { code } = await run("unshare", ["-n", "sh", "-c", vxlan], process.env);
  return code === 0 ? undefined : "overlay networks need vxlan, which this kernel does not make";
}

/** `images`: taken over from the machine's own daemon by both. */
export async function startSwarm(images: string[]): Promise<TestSwarm> {
  // Swarm and live-restore exclude each other.
  const alone = { liveRestore: false };
  const [manager, worker] = await Promise.all([startDockerd(images, alone), startDockerd(images, alone)]);
  const close = async (): Promise<void> => void (await Promise.all([manager.close(), worker.close()]));
  try {
    const ends = [`fb${process.pid}a`, `fb${process.pid}b`] as const;
    const made = await run("ip", ["link", "add", ends[0], "type", "veth", "peer", "name", ends[1]], process.env);
    if (made.code !== 0) throw new Error(`no cable could be made: ${made.stderr}`);
    for (const [i, daemon] of [manager, worker].entries()) {
      await run("ip", ["link", "set", ends[i]!, "netns", String(daemon.pid)], process.env);
      await daemon.inNetwork("ip", "addr", "add", `10.213.0.${i + 1}/24`, "dev", ends[i]!);
      for (const device of ["lo", ends[i]!]) await daemon.inNetwork("ip", "link", "set", device, "up");
    }
    await manager.docker("swarm", "init", "--advertise-addr", "10.213.0.1");
    const token = await manager.docker("swarm", "join-token", "-q", "worker");
    await worker.docker("swarm", "join", "--token", token, "10.213.0.1:2377");
  } catch (thrown) {
    await close();
    throw thrown;
  }
  return { manager, worker, close };
}
