/** Brings what a generator yields to the function that reads it, as it comes. */

import type { Clock } from "../core/clock.ts";
import { fail } from "../core/errors.ts";
import { followInvocation } from "../core/follow-invocation.ts";
import { eventLine, type InvocationEvent, positionAfter } from "../core/invocation-event.ts";
import type { Log } from "../core/log.ts";
import type { ObjectStore } from "../core/object-store.ts";
import type { Operation } from "../core/operation.ts";
import type { StateStore } from "../core/state-store.ts";
import { type Answer, answerBytes } from "./answer-outcome.ts";
import type { LiveAttempt } from "./attempt.ts";
import { checkedId, waitFor } from "./call-request.ts";
import type { ContainerLink } from "./container-contract.ts";
import type { ContainerPlan } from "./container-plan.ts";
import type { Waits } from "./waits.ts";

interface Deps {
  state: Pick<StateStore, "invocations" | "chunks" | "hints">;
  objects: ObjectStore;
  clock: Clock;
  log: Log;
  waits: Waits;
}

interface Context {
  attempt: LiveAttempt;
  plan: ContainerPlan;
  link: ContainerLink;
  signal: AbortSignal;
}

export async function readEvents(
  deps: Deps,
  context: Context,
  { invocation, after }: Extract<Operation, { op: "events" }>,
): Promise<Answer> {
  const id = checkedId(invocation);
  const position = after === undefined ? undefined : (positionAfter(after) ?? fail("bad_request", `no chunk ${after}`));
  const events = followInvocation(deps, id, position, context.signal);
  const some = await deps.waits.during(context.attempt, waitFor(context, id), () => firstOf(events));
  return answerBytes(deps.log, context.link, {}, Buffer.from(some.map(eventLine).join("")));
}

/** Those that come together first; that it waits or runs is nothing a reader inside asks for. */
async function firstOf(groups: AsyncIterable<InvocationEvent[]>): Promise<InvocationEvent[]> {
  for await (const group of groups) {
    const told = group.filter(({ type }) => type !== "state");
    if (told.length > 0) return told;
  }
  return [];
}
