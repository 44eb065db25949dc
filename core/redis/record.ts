/** A record as Redis holds it (a flat hash) and as the rest of fabric sees it. */

import type { Encoding } from "../encoding.ts";
import type {
  Caller,
  InvocationRecord,
  InvocationState,
  NewInvocation,
  Outcome,
  ResultRef,
  Trigger,
} from "../invocation.ts";
import type { MapCounts } from "../map.ts";

type Fields = (string | number | Buffer)[];

export function newRecordFields(call: NewInvocation): Fields {
  const fields: Fields = [
    ["encoding", call.encoding],
    ["timeoutMs", call.timeoutMs],
    ["retries", call.retries],
  ].flat();
  if (call.backoff) fields.push("backoff", JSON.stringify(call.backoff));
  if (call.priority) fields.push("priority", call.priority);
  if (call.maxQueueMs) fields.push("maxQueueMs", call.maxQueueMs);
  if (call.keyLimit) fields.push("key", call.key!, "keyLimit", call.keyLimit);
  if (call.rate) fields.push("rate", call.rate);
  if (call.atMostOnce) fields.push("atMostOnce", 1);
  if (call.method !== undefined) fields.push("method", call.method);
  if (call.variant !== undefined) fields.push("variant", call.variant);
  if (call.acceptPickle) fields.push("acceptPickle", 1);
  if (call.input) fields.push("input", call.input);
  else fields.push("inBucket", 1);
  if (call.ttlSeconds) fields.push("ttl", call.ttlSeconds);
  if (call.waiter) fields.push("waiters", call.waiter);
  if (call.webhook) fields.push("webhook", call.webhook);
  if (call.trigger) fields.push("trigger", call.trigger);
  if (call.tick) fields.push("tick", call.tick);
  if (call.caller) {
    const { id, generation, root, depth, awaited } = call.caller;
    fields.push("parent", id, "parentGeneration", generation, "root", root, "depth", depth);
    if (awaited) fields.push("awaited", 1);
  }
  return fields;
}

export function outcomeFields(outcome: Outcome): Fields {
  if (outcome.state !== "succeeded") {
    const fields: Fields = ["error", JSON.stringify(outcome.error)];
    if (outcome.state === "failed" && outcome.exception) fields.push("exception", outcome.exception);
    return fields;
  }
  const { encoding, size, inline, key } = outcome.result;
  const fields: Fields = ["resultEncoding", encoding, "resultSize", size];
  if (inline) fields.push("result", inline);
  if (key) fields.push("resultKey", key);
  return fields;
}

export function plainFields(facts: Record<string, string | number | undefined>): Fields {
  return Object.entries(facts).flatMap(([name, value]) => (value === undefined ? [] : [name, value]));
}

/** HGETALL's flat reply; `undefined` for a record that does not exist. */
export function parseRecord(id: string, flat: Buffer[] | null | undefined): InvocationRecord | undefined {
  if (!flat || flat.length === 0) return undefined;
  const raw: Record<string, Buffer> = {};
  for (let i = 0; i < flat.length; i += 2) raw[flat[i]!.toString("latin1")] = flat[i + 1]!;
  const text = (name: string): string | undefined => raw[name]?.toString();
  const number = (name: string): number | undefined => (raw[name] ? Number(raw[name]) : undefined);
  const error = text("error");
  const backoff = text("backoff");
  const delivery = text("delivery");
  const dot = id.indexOf(".");
  return {
    id,
    app: text("app")!,
    fn: text("fn")!,
    method: text("method"),
    variant: text("variant"),
    version: text("version")!,
    encoding: text("encoding") as Encoding,
    acceptPickle: "acceptPickle" in raw,
    timeoutMs: number("timeoutMs")!,
    retries: number("retries")!,
    backoff: backoff === undefined ? undefined : JSON.parse(backoff),
    atMostOnce: "atMostOnce" in raw,
    maxQueueMs: number("maxQueueMs"),
    priority: number("priority"),
    key: text("key"),
    keyLimit: number("keyLimit"),
    rate: text("rate"),
    isParked: "parked" in raw,
    expiresAt: number("expiresAt"),
    inputFrom: text("inputFrom"),
    redrivenFrom: text("redrivenFrom"),
    redrivenAs: text("redrivenAs"),
    state: text("state") as InvocationState,
    generation: number("generation")!,
    attempts: number("attempts") ?? 0,
    userFaults: number("userFaults") ?? 0,
    platformFaults: number("platformFaults") ?? 0,
    cancelRequested: "cancelRequested" in raw,
    hasCalls: "calls" in raw,
    createdAt: number("createdAt")!,
    dueAt: number("dueAt"),
    claimedAt: number("claimedAt"),
    startedAt: number("startedAt"),
    endedAt: number("endedAt"),
    finishedAt: number("finishedAt"),
    bootMs: number("bootMs"),
    enterMs: number("enterMs"),
    input: raw.input,
    caller: parseCaller(text),
    runner: text("runner"),
    node: text("node"),
    container: text("container"),
    reason: text("reason"),
    awaits: text("awaits") || undefined,
    series: text("series"),
    startsOver: text("startsOver") === "1",
    result: parseResult(raw),
    error: error === undefined ? undefined : JSON.parse(error),
    exception: raw.exception,
    ttlSeconds: number("ttl"),
    webhook: text("webhook"),
    delivery: delivery === undefined ? undefined : JSON.parse(delivery),
    history: raw.history && JSON.parse(raw.history.toString()),
    trigger: text("trigger") as Trigger | undefined,
    tick: number("tick"),
    ...(raw.total ? { map: parseCounts(raw) } : {}),
    ...(dot < 0
      ? {}
      : {
          slice: {
            map: id.slice(0, dot),
            first: number("first")!,
            count: number("count")!,
            page: number("page")!,
            solo: "solo" in raw,
          },
        }),
  };
}

function parseCounts(raw: Record<string, Buffer>): MapCounts {
  const number = (name: string): number => Number(raw[name]);
  return {
    total: number("total"),
    sealed: "sealed" in raw,
    done: number("done"),
    failed: number("failed"),
    inlineBytes: number("inlineBytes"),
  };
}

/** `<id> ` and the record as `packed` in lua/lib writes it. */
export function parsePacked(message: Buffer): InvocationRecord {
  const space = message.indexOf(0x20);
  return parseRecord(message.toString("latin1", 0, space), unpackList(message, space + 1))!;
}

function parseCaller(text: (name: string) => string | undefined): Caller | undefined {
  const id = text("parent");
  if (id === undefined) return undefined;
  const [generation, depth] = [Number(text("parentGeneration")), Number(text("depth"))];
  return { id, generation, root: text("root")!, depth, awaited: text("awaited") === "1" };
}

/** A MessagePack list of strings. */
function unpackList(bytes: Buffer, start: number): Buffer[] {
  const flat: Buffer[] = [];
  // The list's own head tells its length, as the end of the message does.
  let at = start + (LIST_HEAD[bytes[start]!] ?? 1);
  while (at < bytes.length) {
    const head = bytes[at++]!;
    const width = STRING_WIDTH[head] ?? 0;
    const length = width === 0 ? head & 0x1f : bytes.readUIntBE(at, width);
    at += width + length;
    flat.push(bytes.subarray(at - length, at));
  }
  return flat;
}

/** Bytes before the first element of a long list. */
const LIST_HEAD: Record<number, number> = { 220: 3, 221: 5 };
/** Bytes that tell the length of a long string. */
const STRING_WIDTH: Record<number, number> = { 217: 1, 218: 2, 219: 4 };

function parseResult(raw: Record<string, Buffer>): ResultRef | undefined {
  if (!raw.resultEncoding) return undefined;
  return {
    encoding: raw.resultEncoding.toString() as Encoding,
    size: Number(raw.resultSize),
    inline: raw.result,
    key: raw.resultKey?.toString(),
  };
}
