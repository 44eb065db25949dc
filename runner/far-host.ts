/** A gang's containers on one other node, as its lead has them: what is told to them and what comes from them goes over the link. */
import { type ErrorBody, FabricError } from "../core/errors.ts";
import type { ToShim } from "../core/protocol.ts";
import type {
  ContainerPhase,
  MemberContainer,
  MemberEvents,
  MemberLife,
  Printer,
  RankChannel,
} from "./container-contract.ts";
import type { ContainerPlan } from "./container-plan.ts";
import type { Far, FarAsks, HostPlan, ToHost, ToLead } from "./far-message.ts";
import { createFarSaver } from "./far-saver.ts";
import type { Link, Session } from "./link.ts";
import type { Saver } from "./save-parts.ts";
import { createStreams, FAR_STREAMS, type StreamFrame, type Streams } from "./streams.ts";

export interface FarHost {
  /** Before the first starts. */
  add(plan: ContainerPlan, life: MemberLife, ofGang: MemberEvents): MemberContainer;
}

interface FarMember {
  onMessage(message: ToLead, body: Buffer): void;
  onLost(why: string): void;
  plan: ContainerPlan;
}

interface Asked {
  resolve(value: unknown): void;
  reject(error: FabricError): void;
}

export function createFarHost(link: Link, gang: string, node: string, onLeaving: (now: boolean) => void): FarHost {
  const members = new Map<string, FarMember>();
  const asked = new Map<number, Asked>();
  let asks = 0;
  let session: Session | undefined;
  let lost: string | undefined;

  function onMessage(header: unknown, body: Buffer): void {
    const message = header as ToLead;
    if (message.type === "answer") settle(message.ask, message.error, body);
    else if (message.type === "leaving") onLeaving(message.now);
    else members.get(message.container)?.onMessage(message, body);
  }

  function settle(ask: number, error: ErrorBody | undefined, body: Buffer): void {
    const waiting = asked.get(ask);
    asked.delete(ask);
    if (error) waiting?.reject(new FabricError(error.code, error.message, error.details));
    else waiting?.resolve(JSON.parse(body.toString("utf8")));
  }

  function giveUpAsking(why: string): void {
    for (const waiting of asked.values()) waiting.reject(new FabricError("node_lost", why));
    asked.clear();
  }

  function onBroken(why: string): void {
    lost = why;
    giveUpAsking(why);
    for (const one of members.values()) one.onLost(why);
  }

  /** All at once, with the first that starts. */
  function open(): void {
    if (session) return;
    const all = [...members.values()].map(({ plan }) => plan);
    const { fn, manifest } = all[0]!;
    const plan: HostPlan = {
      ...{ app: manifest.app, version: manifest.version, fn: fn.name },
      members: all.map(({ id, gpus, member }) => ({ id, gpus, member: member! })),
    };
    session = link.open(node, gang, { onMessage, onBroken });
    session.send({ type: "host", plan } satisfies ToHost);
  }

  const tell = (message: ToHost, body?: Buffer): boolean => {
    if (!session || lost !== undefined) return false;
    session.send(message, body);
    return true;
  };

  const askOf =
    (container: string, local: number): Far["ask"] =>
    <What extends keyof FarAsks>(what: What, details: FarAsks[What]["details"], signal?: AbortSignal) =>
      new Promise<FarAsks[What]["answer"]>((resolve, reject) => {
        const ask = ++asks;
        const message = { type: "ask", ask, container, local, what } as const;
        if (!tell(message, Buffer.from(JSON.stringify(details))))
          return reject(new FabricError("node_lost", lost ?? `${node} is not reached yet`));
        asked.set(ask, { resolve: (value) => resolve(value as FarAsks[What]["answer"]), reject });
        // It is answered all the same, once it has stopped.
        signal?.addEventListener("abort", () => void tell({ type: "stop_asking", ask }), { once: true });
      });
  /** One for the node: it does not matter which of its containers is asked. */
  let saver: Saver | undefined;

  function removed(container: string): void {
    members.delete(container);
    if (members.size > 0) return;
    session?.close();
    giveUpAsking(`its containers on ${node} have ended`);
  }

  return {
    add(plan, life, ofGang) {
      const container = plan.id;
      saver ??= createFarSaver(askOf(container, 0));
      const nodeSaver = saver;
      let phase: ContainerPhase = "booked";
      let sockets: string[] = [];
      let markEnded = (): void => {};
      const ended = new Promise<void>((resolve) => (markEnded = resolve));
      const ranks = Array.from({ length: plan.member!.procs }, (_, local) => createFarRank(local));

      function createFarRank(local: number) {
        let streams: Streams | undefined;
        const send = (header: ToShim, body?: Buffer): boolean =>
          phase !== "ended" && tell({ type: "rank", container, local, header }, body);
        const ask = askOf(container, local);
        const channel: RankChannel = { send, streams: () => streams, far: { ask, saver: nodeSaver } };
        return {
          channel,
          onMessage(message: Extract<ToLead, { type: "rank" }>["message"], body: Buffer): void {
            if (message.type.startsWith("stream.")) return void streams?.accept(message as StreamFrame, body);
            if (message.type === "ready") {
              // A connection anew, on which no stream goes on.
              streams?.close(new Error("the shim connected again"));
              streams = createStreams(async (header, piece) => void send(header, piece), FAR_STREAMS);
            }
            ofGang.onRank(local, message as Parameters<MemberEvents["onRank"]>[1], body);
          },
          close: (why: string): void => streams?.close(new Error(why)),
        };
      }

      function end(message: Pick<Extract<ToLead, { type: "ended" }>, "failure" | "verdict">, why: string): void {
        if (phase === "ended") return;
        phase = "ended";
        for (const one of ranks) one.close(why);
        life.onEnded(message.failure, message.verdict);
      }

      const self: MemberContainer = {
        plan,
        id: container,
        phase: () => phase,
        start() {
          if (phase !== "booked") return;
          phase = "starting";
          open();
        },
        drain() {
          if (phase === "booked") return self.kill("not needed any more");
          if (phase !== "starting" && phase !== "ready") return;
          phase = "draining";
          tell({ type: "drain", container });
        },
        kill(why) {
          if (phase === "booked") {
            end({}, why);
            removed(container);
            markEnded();
          } else tell({ type: "kill", container, why });
        },
        ended,
        send(header) {
          const printer = header.type === "launch" ? printerOf(ofGang.attempts(), header.id) : undefined;
          return phase !== "ended" && tell({ type: "shim", container, header, printer });
        },
        rank: (local) => ranks[local]!.channel,
        socketOf: (local) => sockets[local]!,
      };

      members.set(container, {
        plan,
        onMessage(message, body) {
          if (message.type === "ready") {
            if (phase === "starting") phase = "ready";
            sockets = message.sockets;
            life.onReady();
          } else if (message.type === "ended") end(message, "the container has ended");
          else if (message.type === "removed") {
            removed(container);
            markEnded();
          } else if (message.type === "rank") ranks[message.local]?.onMessage(message.message, body);
          else if (message.type === "shim") onShim(message.message, body);
        },
        onLost(why) {
          const error = new FabricError("node_lost", `${container} on ${node}: ${why}`).toBody();
          end({ failure: { error }, verdict: { code: "node_lost", message: error.message } }, why);
          markEnded();
        },
      });

      function onShim(message: Extract<ToLead, { type: "shim" }>["message"], body: Buffer): void {
        if (message.type === "log") ofGang.onLog(message, body);
        else if (message.type === "rank_ended") ofGang.onRankEnded(message);
      }
      return self;
    },
  };
}

function printerOf(attempts: Iterable<Printer>, wanted: string): Printer | undefined {
  for (const { id, claimed } of attempts) {
    const { fn, method, caller } = claimed.record;
    if (id === wanted) return { id, claimed: { record: { id, fn, method, caller } } };
  }
  return undefined;
}
