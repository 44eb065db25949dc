/** What a container is to the rest of the runner: its life as others see it, and what it tells them. */
import type { Clock } from "../core/clock.ts";
import type { ContainerEngine } from "../core/engine.ts";
import type { ErrorBody } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { Attempt } from "../core/state-store.ts";
import type { LiveAttempt } from "./attempt.ts";
import type { Bundles } from "./bundles.ts";
import type { ContainerPlan, NodeIdentity } from "./container-plan.ts";
import type { RunnerDirs } from "./dirs.ts";
import type { LogShipper } from "./log-shipper.ts";
import type { Operations } from "./operations.ts";

export type ContainerPhase = "booked" | "starting" | "ready" | "draining" | "ended";

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
  onEnded(container: Container, failure?: StartFailure): void;
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
