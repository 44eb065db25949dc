/** What a function's request to call says: whom, with which options, under which id, and with which arguments. */
import { missing } from "../core/await-outcome.ts";
import { callOptionsSchema } from "../core/call-options.ts";
import type { Catalog } from "../core/catalog.ts";
import type { Clock } from "../core/clock.ts";
import { fail } from "../core/errors.ts";
import { derivedId, isId } from "../core/ids.ts";
import { type Caller, invocationOf, MAX_CALL_DEPTH } from "../core/invocation.ts";
import type { Operation } from "../core/operation.ts";
import { resolveVariant } from "../core/resolve-variant.ts";
import type { StateStore } from "../core/state-store.ts";
import { untilDone } from "../core/until-done.ts";
import type { LiveAttempt } from "./attempt.ts";
import type { ContainerLink } from "./container-contract.ts";
import type { ContainerPlan } from "./container-plan.ts";
import type { Streams } from "./streams.ts";
import type { WaitFor } from "./waits.ts";

type Callee = Pick<
  Extract<Operation, { op: "call" }>,
  "app" | "function" | "version" | "at" | "awaited" | "parameters" | "overrides" | "options"
>;

/** A function of the caller's own app is called in the caller's version. */
export async function targetOf(
  deps: { catalog: Catalog; state: Pick<StateStore, "capacity"> },
  { manifest }: ContainerPlan,
  operation: Callee,
) {
  const app = operation.app ?? manifest.app;
  const version = operation.version ?? (app === manifest.app ? manifest.version : undefined);
  const { parameters, overrides: options } = operation;
  return untilDone(async () =>
    resolveVariant(await deps.catalog.target(app, operation.function, version), { parameters, options }, () =>
      deps.state.capacity.nodes(),
    ),
  );
}

/** Minor version of the caller's own Python: what its container says about itself is not asked. */
export const pythonOf = ({ manifest, fn }: ContainerPlan): string | undefined => manifest.images[fn.image]?.spec.python;

/** Derived from the request, so that one sent again after a restart is the same call. */
export function callOf(
  clock: Clock,
  { id, generation, claimed }: LiveAttempt,
  request: number,
  { at, awaited }: Callee,
): { id: string; caller: Caller } {
  const { caller, claimedAt = 0 } = claimed.record;
  const depth = (caller?.depth ?? 0) + 1;
  if (depth > MAX_CALL_DEPTH)
    fail("call_too_deep", `${id} is ${MAX_CALL_DEPTH} calls below ${caller!.root}; it may call nothing further`);
  const madeAt = Math.min(Math.max(at, claimedAt), clock.now());
  const own = derivedId("inv", `${id} ${generation} ${request}`, madeAt);
  return { id: own, caller: { id, generation, root: caller?.root ?? invocationOf(id), depth, awaited } };
}

export function optionsOf({ options = {} }: Callee) {
  const read = callOptionsSchema.safeParse(options);
  return read.success ? read.data : fail("bad_request", `options: ${read.error.issues[0]?.message}`);
}

/** Streams of one container that are gathered at a time; the others wait at their first window. */
const STREAMS_AT_ONCE = 4;
const turns = new WeakMap<ContainerLink, Promise<unknown>[]>();

/** One after the other on each of a few lanes. */
function inTurn<T>(link: ContainerLink, stream: number, act: () => Promise<T>): Promise<T> {
  const lanes = turns.get(link) ?? Array.from({ length: STREAMS_AT_ONCE }, () => Promise.resolve());
  turns.set(link, lanes);
  const lane = Math.floor(stream / 2) % STREAMS_AT_ONCE;
  const turn = lanes[lane]!.then(act);
  lanes[lane] = turn.catch(() => undefined);
  return turn;
}

/** A request's body, or what comes as a stream instead. */
export async function bodyOf(
  link: ContainerLink,
  stream: number | undefined,
  body: Buffer,
  limit: number,
): Promise<Buffer> {
  if (stream === undefined) return body;
  const streams = link.streams();
  return inTurn(link, stream, async () => {
    // The number means something else on another connection.
    if (!streams || link.streams() !== streams) fail("internal", "the connection was lost");
    return gathered(streams, stream, limit);
  });
}

async function gathered(streams: Streams, stream: number, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of streams.receive(stream)) {
    size += chunk.length;
    if (size > limit) fail("body_too_large", `the arguments are larger than ${limit} bytes (FABRIC_MAX_BODY_BYTES)`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}

export const checkedId = (id: string): string => (isId("inv", id) ? id : missing(id));

export function waitFor(
  { attempt, plan, link }: { attempt: LiveAttempt; plan: ContainerPlan; link: ContainerLink },
  call: string,
  isEndless = true,
): WaitFor {
  const isForAll = plan.fn.max_inputs === 1 && link.batches(attempt.claimed.record.method);
  return { call, isEndless, isForAll };
}
