/** Which ports a fabric listens on: those asked for, else those of its last start, else the defaults, else any free ones. */
import { createServer } from "node:net";
import { hasCode, LocalFailure } from "./failure.ts";
import type { Ports } from "./state.ts";

export interface PortWish {
  name: keyof Ports;
  /** 0: any free one. */
  port: number;
  /** Somebody named it: never take another one quietly. */
  explicit: boolean;
  host: string;
  flag: string;
}

export interface PortProbe {
  isFree(port: number, host: string): Promise<boolean>;
  anyFree(host: string): Promise<number>;
}

export async function choosePorts(
  wishes: readonly PortWish[],
  probe: PortProbe,
): Promise<{ ports: Ports; notices: string[] }> {
  const ports: Ports = { gateway: 0, redis: 0, s3: 0 };
  const notices: string[] = [];
  const taken = new Set<number>();
  for (const wish of wishes) {
    const chosen = await choosePort(wish, probe, taken);
    if (wish.port !== 0 && chosen !== wish.port)
      notices.push(`port ${wish.port} (${wish.name}) is in use, so ${wish.name} listens on ${chosen}`);
    taken.add(chosen);
    ports[wish.name] = chosen;
  }
  return { ports, notices };
}

async function choosePort(wish: PortWish, probe: PortProbe, taken: ReadonlySet<number>): Promise<number> {
  const usable = async (port: number): Promise<boolean> => !taken.has(port) && (await probe.isFree(port, wish.host));
  if (wish.port !== 0 && (await usable(wish.port))) return wish.port;
  if (wish.explicit && wish.port !== 0)
    throw new LocalFailure(
      `port ${wish.port} (${wish.name}) is in use by another program`,
      `Give another one with ${wish.flag}, or ${wish.flag} 0 for any free one.`,
    );
  for (let tries = 0; tries < 20; tries++) {
    const port = await probe.anyFree(wish.host);
    if (!taken.has(port)) return port;
  }
  throw new LocalFailure(`found no free port for ${wish.name}`, `Give one with ${wish.flag}.`);
}

/** Asks the kernel by listening for a moment. */
export const kernelPorts: PortProbe = {
  isFree: async (port, host) => (await listenOnce(port, host)) !== undefined,
  async anyFree(host) {
    const port = await listenOnce(0, host);
    if (port === undefined) throw new LocalFailure(`cannot listen on ${host}`);
    return port;
  },
};

function listenOnce(port: number, host: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error) => {
      if (hasCode(error, "EADDRINUSE", "EACCES")) resolve(undefined);
      else reject(new LocalFailure(`cannot listen on ${host}: ${error.message}`, "Check --host.", { cause: error }));
    });
    server.listen({ port, host, exclusive: true }, () => {
      const address = server.address();
      const bound = address !== null && typeof address === "object" ? address.port : port;
      server.close(() => resolve(bound));
    });
  });
}
