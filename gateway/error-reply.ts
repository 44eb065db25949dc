/** The one JSON shape of an error reply, whatever was thrown. */
import { HTTPException } from "hono/http-exception";
import { asFabricError, FabricError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";

/** Seconds after which a refused client may try again. */
const RETRY_AFTER: Record<number, string> = { 429: "5", 503: "2" };

/** `details.retryAfterSeconds`, where whoever refused knows better. */
export function replyHeaders(status: number, details: FabricError["details"] = {}): Record<string, string> {
  const seconds = RETRY_AFTER[status] && (details.retryAfterSeconds ?? RETRY_AFTER[status]);
  return seconds ? { "Retry-After": String(seconds) } : {};
}

export function errorReply(thrown: unknown, log: Log): Response {
  const error = told(thrown, log);
  const { status } = error.kind;
  return new Response(JSON.stringify({ error: error.toBody() }), {
    status,
    headers: { "Content-Type": "application/json", ...replyHeaders(status, error.details) },
  });
}

/** What a client may read: what a defect says may hold anything, so that it stays in the log. */
export function told(thrown: unknown, log: Log): FabricError {
  const error = coded(thrown);
  if (error.code !== "internal") return error;
  log.error({ err: error.cause ?? error }, "a defect while answering");
  return new FabricError("internal", "a defect in fabric; see the gateway's log");
}

function coded(thrown: unknown): FabricError {
  if (thrown instanceof HTTPException)
    return new FabricError("bad_request", thrown.message, undefined, { cause: thrown });
  return asFabricError(thrown);
}
