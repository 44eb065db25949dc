/** Asks the network, not Redis: can this node still reach the machine that Redis runs on? */
import { createConnection } from "node:net";

/**
 * `connected`: its kernel accepts, so a Redis that does not answer hangs for everybody. `refused`: nobody listens there, for
 * nobody. `unreachable`: we may be the only ones who cannot reach it.
 */
export type Reach = "connected" | "refused" | "unreachable";

const PROBE_MS = 1_000;

export function probe(redisUrl: string): Promise<Reach> {
  const { hostname, port } = new URL(redisUrl);
  return new Promise((resolve) => {
    const socket = createConnection({ host: hostname, port: Number(port || 6379) });
    const done = (reach: Reach): void => {
      socket.destroy();
      resolve(reach);
    };
    socket.setTimeout(PROBE_MS, () => done("unreachable"));
    socket.on("connect", () => done("connected"));
    socket.on("error", (error: NodeJS.ErrnoException) =>
      done(error.code === "ECONNREFUSED" ? "refused" : "unreachable"),
    );
  });
}
