/** Maps that functions make: their inputs taken page by page, their outcomes brought as they come. */
import { missing } from "../core/await-outcome.ts";
import type { Catalog } from "../core/catalog.ts";
import type { Clock } from "../core/clock.ts";
import { doorbell } from "../core/doorbell.ts";
import { fail } from "../core/errors.ts";
import { appendPages, openMap } from "../core/fan-out.ts";
import { type InvocationRecord, isTerminal } from "../core/invocation.ts";
import type { Log } from "../core/log.ts";
import { decodeBlock } from "../core/map.ts";
import { linesOf } from "../core/map-outcomes.ts";
import type { ObjectStore } from "../core/object-store.ts";
import type { Operation, ResultsValue } from "../core/operation.ts";
import type { Outbox } from "../core/outbox.ts";
import { INLINE_BYTES } from "../core/protocol.ts";
import { type InputForm, readInputs } from "../core/read-inputs.ts";
import type { StateStore } from "../core/state-store.ts";
import { untilDone } from "../core/until-done.ts";
import { calledName } from "../core/variant.ts";
import { type Answer, answerBytes } from "./answer-outcome.ts";
import type { LiveAttempt } from "./attempt.ts";
import { bodyOf, callOf, checkedId, optionsOf, pythonOf, targetOf, waitFor } from "./call-request.ts";
import type { ContainerLink } from "./container-contract.ts";
import type { ContainerPlan } from "./container-plan.ts";
import { fittingError } from "./fitting-error.ts";
import { untilAccepted } from "./until-accepted.ts";
import type { Waits } from "./waits.ts";

type OfKind<K extends Operation["op"]> = Extract<Operation, { op: K }>;
type MapRecord = InvocationRecord & { map: NonNullable<InvocationRecord["map"]> };

export interface MapDeps {
  state: Pick<StateStore, "invocations" | "capacity" | "maps">;
  objects: ObjectStore;
  outbox: Outbox;
  catalog: Catalog;
  waits: Waits;
  clock: Clock;
  log: Log;
  bodyBytes: number;
}

interface Context {
  attempt: LiveAttempt;
  plan: ContainerPlan;
  link: ContainerLink;
  signal: AbortSignal;
}

const BLOCKS_AT_ONCE = 64;
/** A lost hint delays outcomes by this much. */
const LOOK_MS = 2_000;

export async function startMap(
  deps: MapDeps,
  { attempt, plan, link, signal }: Context,
  operation: OfKind<"map">,
  request: number,
  body: Buffer,
): Promise<Answer> {
  const from = callOf(deps.clock, attempt, request, operation);
  const options = optionsOf(operation);
  const inputs = await bodyOf(link, operation.stream, body, deps.bodyBytes);
  const target = await targetOf(deps, plan, operation);
  const form = formOf(operation.accept_pickle && pythonOf(plan) === target.python);
  // What is wrong with the first inputs leaves nothing behind.
  const pages = await all(readInputs(once(inputs), target, form, deps));
  const { id } = await untilAccepted(
    deps.clock,
    () => openMap(deps, target, { acceptPickle: form.acceptsPickles, from }, options),
    signal,
  );
  const total = await appendPages(deps, { id, inlineBytes: 0 }, pages);
  return sealed(deps, signal, id, total, operation.more);
}

export async function appendInputs(
  deps: MapDeps,
  { link, signal }: Context,
  { invocation, first, more, stream }: OfKind<"inputs">,
  body: Buffer,
): Promise<Answer> {
  const inputs = await bodyOf(link, stream, body, deps.bodyBytes);
  const record = await readMap(deps, signal, invocation);
  const { id, app, version } = record;
  const target = await untilDone(() => deps.catalog.target(app, calledName(record), version), signal);
  const pages = readInputs(once(inputs), target, formOf(record.acceptPickle), { clock: deps.clock, first });
  const total = await appendPages(
    deps,
    { id, inlineBytes: record.map.inlineBytes, holdMs: 0 },
    await all(pages),
    first,
  );
  return sealed(deps, signal, id, total, more);
}

async function sealed({ state }: MapDeps, signal: AbortSignal, id: string, inputs: number, more: boolean) {
  if (!more) await untilDone(() => state.maps.seal(id), signal);
  return { value: { id, inputs } };
}

/** All that the attempt does meanwhile is wait. */
export async function readResults(
  deps: MapDeps,
  { attempt, plan, link, signal }: Context,
  { invocation, after }: OfKind<"results">,
): Promise<Answer> {
  const { id } = await readMap(deps, signal, invocation);
  const ready = await nextLines(deps, signal, id, after);
  if (ready) return answerBytes(deps.log, link, ready.value, ready.lines);
  const bell = doorbell(deps.clock, signal);
  const stop = await deps.state.maps.onBlock(id, bell.ring);
  try {
    const { value, lines } = await deps.waits.during(attempt, waitFor({ attempt, plan, link }, id), async () => {
      for (;;) {
        signal.throwIfAborted();
        const came = await nextLines(deps, signal, id, after);
        if (came) return came;
        await bell.wait(LOOK_MS);
      }
    });
    return answerBytes(deps.log, link, value, lines);
  } finally {
    stop();
  }
}

/** Whole blocks, as many as make a frame; `undefined` when there is none yet. */
async function nextLines(
  deps: MapDeps,
  signal: AbortSignal,
  id: string,
  after: number,
): Promise<{ value: ResultsValue; lines: Buffer } | undefined> {
  const { state, objects } = deps;
  const read = () => untilDone(() => state.maps.blocks(id, after, BLOCKS_AT_ONCE), signal);
  let blocks = await read();
  if (blocks.length === 0) {
    const record = await readMap(deps, signal, id);
    if (!isTerminal(record.state)) return undefined;
    // The record ends after its last block is written: one more look, and nothing is missed.
    blocks = await read();
    const { state: how, map, error } = record;
    const ended = { state: how, inputs: map.total, failed: map.failed, error: error && fittingError(error) };
    if (blocks.length === 0) return { value: { position: after, ended }, lines: Buffer.alloc(0) };
  }
  const lines: Buffer[] = [];
  let size = 0;
  for (const block of blocks) {
    const some = await untilDone(() => linesOf(objects, decodeBlock(block)), signal);
    lines.push(some);
    size += some.length;
    if (size > INLINE_BYTES / 2) break;
  }
  return { value: { position: after + lines.length }, lines: Buffer.concat(lines, size) };
}

async function readMap({ state }: MapDeps, signal: AbortSignal, invocation: string): Promise<MapRecord> {
  const id = checkedId(invocation);
  const record = (await untilDone(() => state.invocations.get(id), signal)) ?? missing(id);
  if (!record.map) fail("bad_request", `${id} is a single call, no map`);
  return record as MapRecord;
}

const formOf = (acceptsPickles: boolean): InputForm => ({ isCallForm: true, acceptsPickles });

async function* once(body: Buffer): AsyncGenerator<Buffer> {
  yield body;
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}
