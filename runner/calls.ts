/** Calls that functions make: accepted here as a gateway accepts them, linked to the attempt that makes them, and awaited. */
import { awaitOutcome, missing } from "../core/await-outcome.ts";
import { cancelBelow, cancelTree } from "../core/cancel-tree.ts";
import type { Catalog } from "../core/catalog.ts";
import type { Clock } from "../core/clock.ts";
import { decodeCall, type EncodedCall, PICKLE_TYPE } from "../core/decode-call.ts";
import { asFabricError, fail } from "../core/errors.ts";
import { type InvocationRecord, invocationOf } from "../core/invocation.ts";
import { invoke } from "../core/invoke.ts";
import type { Log } from "../core/log.ts";
import type { ObjectStore } from "../core/object-store.ts";
import type { Operation } from "../core/operation.ts";
import type { Outbox } from "../core/outbox.ts";
import type { Outcomes } from "../core/outcomes.ts";
import type { FromShim } from "../core/protocol.ts";
import { CHILDREN_SHOWN, showInvocation } from "../core/show-invocation.ts";
import type { StateStore } from "../core/state-store.ts";
import { untilDone } from "../core/until-done.ts";
import { type Answer, answerOutcome } from "./answer-outcome.ts";
import type { LiveAttempt } from "./attempt.ts";
import { bodyOf, callOf, checkedId, optionsOf, pythonOf, targetOf, waitFor } from "./call-request.ts";
import type { ContainerLink } from "./container-contract.ts";
import type { ContainerPlan } from "./container-plan.ts";
import { fittingError } from "./fitting-error.ts";
import { appendInputs, type MapDeps, readResults, startMap } from "./map-calls.ts";
import { readEvents } from "./read-events.ts";
import { untilAccepted } from "./until-accepted.ts";
import type { Waits } from "./waits.ts";

type Request = Extract<FromShim, { type: "request" }>;
type OfKind<K extends Operation["op"]> = Extract<Operation, { op: K }>;
export type CallOperation = OfKind<"call" | "events" | "map" | "inputs" | "results" | "outcome" | "status" | "cancel">;

export interface CallDeps extends MapDeps {
  state: Pick<StateStore, "invocations" | "capacity" | "maps" | "chunks" | "hints">;
  objects: ObjectStore;
  outbox: Outbox;
  outcomes: Outcomes;
  catalog: Catalog;
  waits: Waits;
  clock: Clock;
  log: Log;
  /** Of a call's arguments. */
  bodyBytes: number;
}

export interface CallContext {
  attempt: LiveAttempt;
  plan: ContainerPlan;
  link: ContainerLink;
  /** Aborts when the attempt has left its container. */
  signal: AbortSignal;
}

export interface Calls {
  perform(context: CallContext, operation: CallOperation, request: Request, body: Buffer): Promise<Answer>;
  /** The attempt's outcome is stored: what nobody waits for any more ends too. */
  ended(attempt: LiveAttempt): void;
}

/** A wait without an end of its own; what waits has one. */
const FOR_EVER = Number.POSITIVE_INFINITY;

export function createCalls(deps: CallDeps): Calls {
  const { state, log } = deps;
  const called = new WeakSet<LiveAttempt>();

  async function encoded({ plan, link }: CallContext, operation: OfKind<"call">, body: Buffer) {
    const input = await bodyOf(link, operation.stream, body, deps.bodyBytes);
    const target = await targetOf(deps, plan, operation);
    const { awaited, yields } = operation;
    if (awaited && !yields && target.spec.is_generator)
      fail("generator_needs_stream", `${target.key} is a generator: .remote() would lose what it yields`);
    if (yields && !target.spec.is_generator) fail("not_a_generator", `${target.key} is no generator: call .remote()`);
    const headers = {
      contentType: operation.encoding === "pickle" ? PICKLE_TYPE : undefined,
      form: "call",
      python: pythonOf(plan),
      accept: operation.accept_pickle ? "pickle" : undefined,
    };
    return { target, call: decodeCall(input, headers, target) };
  }

  async function call(
    context: CallContext,
    operation: OfKind<"call">,
    request: Request,
    body: Buffer,
  ): Promise<Answer> {
    const from = callOf(deps.clock, context.attempt, request.request, operation);
    const options = optionsOf(operation);
    const { target, call } = await encoded(context, operation, body);
    called.add(context.attempt);
    const asked = { ...options, wait: operation.wait, from };
    const make = () => invoke(deps, target, call as EncodedCall, asked);
    const { id, pending } = await untilAccepted(deps.clock, make, context.signal);
    if (!operation.wait) return { value: { id, state: "queued" } };
    const record = await deps.waits.during(context.attempt, waitFor(context, id), async () =>
      pending ? pending.wait(FOR_EVER, isWanted(context)) : ended(context, id, FOR_EVER),
    );
    return answer(context, record ?? missing(id));
  }

  const isWanted =
    ({ signal }: CallContext) =>
    () =>
      !signal.aborted;
  const ended = (context: CallContext, id: string, waitMs: number): Promise<InvocationRecord> =>
    untilDone(() => awaitOutcome(deps, id, waitMs, isWanted(context)), context.signal);

  /** What told of the end leaves the exception out. */
  async function answer({ link, signal }: CallContext, record: InvocationRecord): Promise<Answer> {
    const isWhole = record.error?.code !== "exception" || record.exception !== undefined;
    const whole = isWhole ? record : ((await untilDone(() => state.invocations.get(record.id), signal)) ?? record);
    return answerOutcome(deps, link, whole);
  }

  async function outcome(context: CallContext, { invocation, wait_ms = FOR_EVER }: OfKind<"outcome">): Promise<Answer> {
    const id = checkedId(invocation);
    const wait = () => ended(context, id, wait_ms);
    return answer(context, await deps.waits.during(context.attempt, waitFor(context, id, wait_ms === FOR_EVER), wait));
  }

  async function status({ signal }: CallContext, { invocation }: OfKind<"status">): Promise<Answer> {
    const id = checkedId(invocation);
    const record = (await untilDone(() => state.invocations.get(id), signal)) ?? missing(id);
    const children = record.hasCalls ? await state.invocations.children(id, CHILDREN_SHOWN) : undefined;
    const shown = showInvocation(record, children);
    return { value: { ...shown, error: shown.error && fittingError(shown.error) } };
  }

  async function cancel({ signal }: CallContext, { invocation }: OfKind<"cancel">): Promise<Answer> {
    const id = checkedId(invocation);
    if ((await untilDone(() => cancelTree(state.invocations, id), signal)) === "missing") missing(id);
    return { value: null };
  }

  return {
    async perform(context, operation, request, body) {
      if (operation.op === "map") {
        called.add(context.attempt);
        return startMap(deps, context, operation, request.request, body);
      }
      if (operation.op === "events") return readEvents(deps, context, operation);
      if (operation.op === "inputs") return appendInputs(deps, context, operation, body);
      if (operation.op === "results") return readResults(deps, context, operation);
      if (operation.op === "call") return call(context, operation, request, body);
      if (operation.op === "outcome") return outcome(context, operation);
      if (operation.op === "status") return status(context, operation);
      return cancel(context, operation);
    },
    ended(attempt) {
      if (!called.has(attempt) && !attempt.claimed.record.hasCalls) return;
      untilDone(() => cancelBelow(state.invocations, invocationOf(attempt.id), { unwanted: true })).catch(
        (thrown: unknown) =>
          // Their runners see it when they claim them, or renew their leases.
          log.warn({ id: attempt.id, error: asFabricError(thrown).message }, "calls of an ended attempt go on for now"),
      );
    },
  };
}
