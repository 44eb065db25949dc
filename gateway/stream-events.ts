/** Sends an invocation's events as they come. A reader who goes cancels nothing; a slow one slows only itself. */

import { fail } from "../core/errors.ts";
import { followInvocation } from "../core/follow-invocation.ts";
import { type Position, positionAfter } from "../core/invocation-event.ts";
import type { GatewayDeps } from "./deps.ts";
import type { EventForm } from "./event-forms.ts";
import { liveReply } from "./live-reply.ts";

type Deps = Pick<GatewayDeps, "state" | "objects" | "clock" | "log">;

export function streamEvents(deps: Deps, id: string, form: EventForm, after?: Position): Response {
  const headers = { "Fabric-Invocation": id };
  return liveReply(deps, { ...form, headers }, async (out, signal) => {
    for await (const events of followInvocation(deps, id, after, signal))
      await out.write(Buffer.from(events.map(form.encode).join("")));
  });
}

/** What a Last-Event-ID header names. */
export function lastSeen(header: string | undefined): Position | undefined {
  if (header === undefined || header === "") return undefined;
  const position = positionAfter(header);
  return (
    position ?? fail("bad_request", `Last-Event-ID: ${JSON.stringify(header)} is not the id of a chunk, as 1-17 is`)
  );
}
