/** What happens to an invocation, as it happens; goes on where it was when the connection breaks. */
import { setTimeout as pause } from "node:timers/promises";
import { type ErrorBody, FabricError } from "../../core/errors.ts";
import type { InvocationState } from "../../core/invocation.ts";
import { fromBody, type Http } from "./http.ts";

export type InvocationEvent =
  | { type: "state"; id: string; state: InvocationState; generation: number; reason: string }
  /** What a generator yielded; `id` is a position to go on from. Pickled (base64) where it is no JSON and the caller takes pickles. */
  | { type: "chunk"; id: string; value?: unknown; pickle?: string }
  /** Another attempt starts over: the chunks so far are void. */
  | { type: "restart"; generation: number }
  | EndEvent;

export interface EndEvent {
  type: "end";
  id: string;
  state: InvocationState;
  result?: unknown;
  pickle?: string;
  /** Where a result that is too large for an event is. */
  location?: string;
  error?: ErrorBody;
}

export interface EventsOptions {
  /** Id of the last chunk that was seen. */
  after?: string;
  signal?: AbortSignal;
}

/** How long a gateway that does not answer is tried again. */
const PATIENCE_MS = 15_000;
const PAUSE_MS = 250;

/** Ends with the `end` event. Leaving the loop cancels nothing. */
export async function* events(api: Http, id: string, options: EventsOptions = {}): AsyncGenerator<InvocationEvent> {
  let { after } = options;
  const { signal } = options;
  let lostAt: number | undefined;
  for (;;) {
    try {
      const headers = { accept: "application/x-ndjson", ...(after === undefined ? {} : { "last-event-id": after }) };
      const path = `/v1/invocations/${encodeURIComponent(id)}/events`;
      for await (const event of api.lines<InvocationEvent | { type: "error"; error: ErrorBody }>("GET", path, {
        headers,
        signal,
      })) {
        lostAt = undefined;
        if (event.type === "error") throw fromBody(event.error);
        if (event.type === "chunk") after = event.id;
        yield event;
        if (event.type === "end") return;
      }
      lostAt ??= performance.now();
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof FabricError) || error.kind.status !== 503) throw error;
      lostAt ??= performance.now();
      if (performance.now() - lostAt > PATIENCE_MS) throw error;
    }
    await pause(PAUSE_MS, undefined, { signal });
  }
}
