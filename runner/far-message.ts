/** What the runners of a gang on several nodes tell each other: `ToHost` the lead, `ToLead` the runner of another node. */
import type { ErrorBody } from "../core/errors.ts";
import type { ToShim } from "../core/protocol.ts";
import type { Bringing, Wanted as Brought } from "./bring.ts";
import type { ShimMessage } from "./channel.ts";
import type { ExitVerdict } from "./classify-exit.ts";
import type { Printer, StartFailure } from "./container-contract.ts";
import type { Member } from "./container-plan.ts";
import type { Part, SavedHere, Saver } from "./save-parts.ts";
import type { StreamFrame } from "./streams.ts";

/** Its first message: the containers that the runner is to start. */
export interface HostPlan {
  app: string;
  version: string;
  fn: string;
  members: { id: string; gpus: string[]; member: Member }[];
}

export type ToHost =
  | { type: "host"; plan: HostPlan }
  | { type: "drain"; container: string }
  | { type: "kill"; container: string; why: string }
  /** To its shim. `printer`: whose lines will come. */
  | { type: "shim"; container: string; header: ToShim; printer?: Printer }
  /** To a rank; the body is the frame's. */
  | { type: "rank"; container: string; local: number; header: ToShim }
  /** Body: the question's details as JSON; answered by `answer`. */
  | { type: "ask"; ask: number; container: string; local: number; what: keyof FarAsks }
  | { type: "stop_asking"; ask: number };

export type ToLead =
  | { type: "ready"; container: string; sockets: string[] }
  | { type: "ended"; container: string; failure?: StartFailure; verdict?: ExitVerdict }
  /** Nothing is left of it, its booking included. */
  | { type: "removed"; container: string }
  /** The node is being stopped: the gang may end its attempt, unless it has to go now. */
  | { type: "leaving"; now: boolean }
  /** Of its shim; the body is the frame's. */
  | { type: "shim"; container: string; message: ShimMessage }
  | { type: "rank"; container: string; local: number; message: ShimMessage | StreamFrame }
  /** Body: the answer as JSON. */
  | { type: "answer"; ask: number; error?: ErrorBody };

/** What a rank's own node does for it, since the bytes need not pass through the lead. */
export interface FarAsks {
  /** Brings an object as the rank's input. */
  input: { details: { frame: Extract<ToShim, { type: "input" }>; key: string }; answer: null };
  /** Opens streams to the rank for objects, which begin with "begin". */
  bring: { details: { wanted: Brought[] }; answer: { number: number; files: Bringing["files"] } | null };
  begin: { details: { number: number }; answer: null };
  list: { details: FarPart; answer: string[] };
  /** "before": the series' latest checkpoint. Each part with what is to be saved of it, and what is only to be compared. */
  save: {
    details: {
      prefix: string;
      before?: { series: string; step: number };
      parts: (FarPart & { own: string[]; shared: string[] })[];
    };
    answer: SavedHere;
  };
}

export type FarPart = Omit<Part, "saver">;

/** The same, as the lead asks it of one rank. */
export interface Far {
  ask<What extends keyof FarAsks>(
    what: What,
    details: FarAsks[What]["details"],
    signal?: AbortSignal,
  ): Promise<FarAsks[What]["answer"]>;
  /** Of all ranks on that node. */
  saver: Saver;
}
