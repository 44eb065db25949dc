/** A TCP proxy between fabric and a store: connections that are refused, slow, hung or cut, and commands whose reply is lost. */
import { once } from "node:events";
import { type AddressInfo, createConnection, createServer, type Socket } from "node:net";
import { commandScanner } from "./resp.ts";

/** `up`: from the client to the store. */
export type Direction = "up" | "down";

export interface TcpProxy {
  port: number;
  /** Cuts every connection and every new one. */
  drop(): void;
  /** Accepts and forwards nothing, in one direction or both; what was sent meanwhile arrives after `heal`. */
  hang(direction?: Direction): void;
  delay(ms: number): void;
  /** The connection that carries the byte after the next `bytes` is cut there. */
  cutAfter(bytes: number, direction: Direction): void;
  /**
   * Forwards the next matching command whole, and nothing behind it nor any answer: the store has done it, and its client
   * does not hear of it. `cut` ends that connection, `hold` leaves it silent. Resolves when it happened.
   */
  afterCommand(matches: (command: Buffer[]) => boolean, then: "cut" | "hold"): Promise<void>;
  heal(): void;
  close(): Promise<void>;
}

interface Trap {
  matches(command: Buffer[]): boolean;
  then: "cut" | "hold";
  sprung(): void;
}

interface Faults {
  refusing: boolean;
  hung: Set<Direction>;
  delayMs: number;
  /** Stays after `heal`, for what comes behind what is still delayed. */
  longestDelayMs: number;
  budget: Partial<Record<Direction, number>>;
  trap?: Trap;
}

/** `resp`: the stream is parsed, which `afterCommand` needs. */
export async function startTcpProxy(target: number, options: { resp?: boolean } = {}): Promise<TcpProxy> {
  const faults: Faults = { refusing: false, hung: new Set(), delayMs: 0, longestDelayMs: 0, budget: {} };
  const links = new Set<Link>();
  const server = createServer((client) => {
    if (faults.refusing) return client.destroy();
    const link = connect(client, target, faults, options.resp ?? false);
    links.add(link);
    link.onClose(() => links.delete(link));
    return undefined;
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const cutAll = () => {
    for (const link of links) link.cut();
  };
  return {
    port: (server.address() as AddressInfo).port,
    drop() {
      faults.refusing = true;
      cutAll();
    },
    hang(direction) {
      for (const one of direction ? [direction] : (["up", "down"] as const)) faults.hung.add(one);
      for (const link of links) link.apply();
    },
    delay(ms) {
      faults.delayMs = ms;
      faults.longestDelayMs = Math.max(ms, faults.longestDelayMs);
    },
    cutAfter(bytes, direction) {
      faults.budget[direction] = bytes;
    },
    afterCommand: (matches, then) =>
      new Promise((resolve) => {
        faults.trap = { matches, then, sprung: resolve };
      }),
    heal() {
      Object.assign(faults, { refusing: false, delayMs: 0, budget: {}, trap: undefined });
      faults.hung.clear();
      for (const link of links) link.apply();
    },
    async close() {
      server.close();
      cutAll();
      await once(server, "close");
    },
  };
}

interface Link {
  cut(): void;
  /** Pauses or resumes as the faults say now. */
  apply(): void;
  onClose(act: () => void): void;
}

function connect(client: Socket, target: number, faults: Faults, resp: boolean): Link {
  const store = createConnection(target, "127.0.0.1");
  const scanner = resp ? commandScanner() : undefined;
  let silenced = false;
  const cut = () => {
    client.destroy();
    store.destroy();
  };
  const apply = () => {
    for (const [source, direction] of [[client, "up"] as const, [store, "down"] as const])
      if (faults.hung.has(direction)) source.pause();
      else source.resume();
  };
  /** How much of the chunk passes before this connection's way ends. */
  const trapped = (chunk: Buffer): number | undefined => {
    for (const { args, end } of scanner?.(chunk) ?? []) if (faults.trap?.matches(args)) return Math.max(0, end);
    return undefined;
  };
  const spring = (): void => {
    const trap = faults.trap!;
    faults.trap = undefined;
    silenced = true;
    // The store reads what was sent before it sees the end, so the command is carried out.
    if (trap.then === "cut") {
      client.destroy();
      store.end();
    }
    trap.sprung();
  };
  const forward = (chunk: Buffer, direction: Direction, to: Socket): void => {
    if (silenced) return;
    const budget = faults.budget[direction];
    if (budget !== undefined && chunk.length > budget) {
      faults.budget[direction] = undefined;
      silenced = true;
      to.write(chunk.subarray(0, budget), cut);
      return;
    }
    if (budget !== undefined) faults.budget[direction] = budget - chunk.length;
    const stop = direction === "up" ? trapped(chunk) : undefined;
    pass(stop === undefined ? chunk : chunk.subarray(0, stop), direction, to);
    if (stop !== undefined) spring();
  };
  const delayed: Record<Direction, number> = { up: 0, down: 0 };
  /** Nothing overtakes what is delayed. */
  const pass = (chunk: Buffer, direction: Direction, to: Socket): void => {
    if (faults.delayMs > 0 || delayed[direction] > 0) {
      delayed[direction]++;
      setTimeout(() => {
        delayed[direction]--;
        to.write(chunk);
      }, faults.longestDelayMs);
    } else if (!to.write(chunk)) pressBack(direction === "up" ? client : store, to, apply);
  };
  client.on("data", (chunk: Buffer) => forward(chunk, "up", store));
  store.on("data", (chunk: Buffer) => forward(chunk, "down", client));
  client.on("end", () => store.end());
  store.on("end", () => client.end());
  // The other end learns of it as of any broken connection.
  for (const socket of [client, store]) socket.on("error", cut).on("close", cut).setNoDelay(true);
  apply();
  return { cut, apply, onClose: (act) => void store.once("close", act) };
}

function pressBack(source: Socket, to: Socket, apply: () => void): void {
  source.pause();
  to.once("drain", apply);
}
