/** What a container is to the rest of the runner: its life as others see it, and what it tells them. */
import type { Clock } from "../core/clock.ts";
import type { ContainerEngine } from "../core/engine.ts";
import type { ErrorBody } from "../core/errors.ts";
import type { InvocationRecord } from "../core/invocation.ts";
import type { Log } from "../core/log.ts";
import type { ToShim } from "../core/protocol.ts";
import type { Attempt } from "../core/state-store.ts";
import type { LiveAttempt } from "./attempt.ts";
import type { Bundles } from "./bundles.ts";
import type { Channel, ShimMessage } from "./channel.ts";
import type { ExitVerdict } from "./classify-exit.ts";
import type { ContainerPlan, NodeIdentity } from "./container-plan.ts";
import type { RunnerDirs } from "./dirs.ts";
import type { Far } from "./far-message.ts";
import type { LogShipper } from "./log-shipper.ts";
import type { Operations } from "./operations.ts";
import type { StreamFrame, Streams } from "./streams.ts";

/** What an attempt may ask of the container it runs in. */
export interface ContainerLink {
  readonly id: string;
  send(header: ToShim, body?: Buffer): boolean;
  streams(): Streams | undefined;
  /** It gathers calls of this method, or of its function, into batches. */
  batches(method: string | undefined): boolean;
  /** Ends the container because of this attempt; its neighbours run again without charge. */
  kill(why: string): void;
  bootMs(): number;
  enterMs(): number;
  /** Of a gang: the ways to its ranks, each of which gets the input. */
  ranks?(): readonly ContainerLink[];
  /** Of a rank on another node. */
  far?: Far;
}

/** How a container's end concerns an attempt in it. */
export type Ending = { again: string } | { fault: ErrorBody };

export type ContainerPhase = "booked" | "starting" | "ready" | "draining" | "ended";

export const PHASES_AFTER: Record<ContainerPhase, readonly ContainerPhase[]> = {
  booked: ["starting", "ended"],
  starting: ["ready", "draining", "ended"],
  ready: ["draining", "ended"],
  draining: ["ended"],
  ended: [],
};

export interface ContainerDeps {
  engine: ContainerEngine;
  bundles: Bundles;
  dirs: RunnerDirs;
  sdkDir: string;
  identity: NodeIdentity;
  clock: Clock;
  log: Log;
  logs: LogShipper;
  operations: Operations;
  bootTimeoutMs: number;
}

/** Why a container that never became ready ended. */
export interface StartFailure {
  error: ErrorBody;
}

export interface ContainerEvents {
  /** It takes inputs now. `running` are attempts it already has: the runner was restarted. */
  onReady(container: Container, running: Attempt[]): void;
  /** A slot became free. */
  onFree(container: Container): void;
  /** A frame of an attempt this runner does not know (yet). Answers the attempt when it is one to adopt. */
  onStray(container: Container, attempt: Attempt): LiveAttempt | undefined;
  /** It ended by itself and took these attempts with it. */
  onCrash(container: Container, attempts: LiveAttempt[]): void;
  onEnded(container: Container, failure?: StartFailure, verdict?: ExitVerdict): void;
}

/** What a container that belongs to a gang has to tell besides. */
export interface MemberEvents {
  /** Whose output its lines may be. */
  attempts(): Iterable<Printer>;
  onLog(message: Extract<ShimMessage, { type: "log" }>, body: Buffer): void;
  onRankEnded(message: Extract<ShimMessage, { type: "rank_ended" }>): void;
  /** On the channel of its rank with this local number. */
  onRank(local: number, message: ShimMessage, body: Buffer): void;
  /** Frames of streams that are not this runner's: true for those taken. */
  onRankStream?(local: number, frame: StreamFrame, body: Buffer): boolean;
}

/** What a gang hears of the life of one of its containers. */
export interface MemberLife {
  onReady(): void;
  onEnded(failure?: StartFailure, verdict?: ExitVerdict): void;
}

/** An attempt, as far as lines of its output tell of it. */
export interface Printer {
  readonly id: string;
  readonly claimed: { record: Pick<InvocationRecord, "id" | "fn" | "method" | "caller"> };
}

/** A container that belongs to a gang, as the gang sees it, on this node or another one. */
export interface MemberContainer
  extends Pick<Container, "plan" | "id" | "phase" | "start" | "drain" | "kill" | "ended"> {
  /** To its shim, which starts and ends ranks. */
  send(header: ToShim): boolean;
  /** By local rank; once it is ready. */
  rank(local: number): RankChannel;
  /** Where the rank's shim finds its socket, as it sees it; once it is ready. */
  socketOf(local: number): string;
}

export interface RankChannel extends Pick<Channel, "send" | "streams"> {
  far?: Far;
}

export interface Container {
  readonly plan: ContainerPlan;
  readonly id: string;
  readonly slots: number;
  phase(): ContainerPhase;
  freeSlots(): number;
  busy(): number;
  /** Monotonic; when its last input ended. */
  idleSince(): number;
  /** Since when it takes inputs, monotonic, and how long it took to start. */
  ready(): { since: number; bootMs: number };
  begin(attempt: LiveAttempt, alone?: boolean): void;
  adoptAttempt(attempt: LiveAttempt): void;
  /** Frees the attempt's slot; its frames are known until `forget`. */
  release(attempt: LiveAttempt): void;
  forget(attempt: LiveAttempt): void;
  start(): void;
  /** Living already, from before a restart of the runner. */
  adopt(): void;
  /** Takes nothing new; ends when what runs has ended. */
  drain(): void;
  /** Ends it now; attempts inside run again without charge. */
  kill(why: string): void;
  readonly ended: Promise<void>;
}
