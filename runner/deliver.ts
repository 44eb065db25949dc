/** Hands what a shim says about an attempt to that attempt. */
import type { ToShim } from "../core/protocol.ts";
import type { LiveAttempt } from "./attempt.ts";
import type { ShimMessage } from "./channel.ts";

type AboutAttempt = Extract<ShimMessage, { type: "result" | "results" | "error" | "yield" }>;
const TYPES: ReadonlySet<string> = new Set<AboutAttempt["type"]>(["result", "results", "error", "yield"]);

export const isAboutAttempt = (message: ShimMessage): message is AboutAttempt => TYPES.has(message.type);

/** Answers the acknowledgement when nobody waits for it any more: the shim may forget it. */
export function deliver(attempt: LiveAttempt | undefined, message: AboutAttempt, body: Buffer): ToShim | undefined {
  const { id, generation } = message;
  if (!attempt && message.type === "yield") return { type: "yield.ack", id, generation, seq: message.seq };
  if (!attempt) return { type: "ack", id, generation };
  if (message.type === "result") attempt.onResult(message, body);
  else if (message.type === "results") attempt.onResults?.(message, body);
  else if (message.type === "yield") attempt.onYield(message, body);
  else attempt.onError(message, body);
  return undefined;
}
