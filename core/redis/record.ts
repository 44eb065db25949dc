/** A record as Redis holds it (a flat hash) and as the rest of fabric sees it. */

import type { Encoding } from "../encoding.ts";
import type { Caller, InvocationRecord, NewInvocation, Outcome, ResultRef } from "../invocation.ts";
import type { MapCounts, SliceFacts } from "../map.ts";

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

type Parts = Partial<Record<string, Buffer>>;
type Read = (value: Buffer) => unknown;
const text: Read = (value) => value.toString();
const number: Read = (value) => Number(value.toString("latin1"));
const json: Read = (value) => JSON.parse(value.toString());
const bytes: Read = (value) => value;
const set: Read = () => true;
const yes: Read = (value) => value.toString() === "1";

const same = (read: Read, ...names: (keyof InvocationRecord)[]): [string, [keyof InvocationRecord, Read]][] =>
  names.map((name) => [name, [name, read]]);

/** How a field is read, and what it is in the record; those that make up a larger part of it are not here. */
const FIELDS = new Map<string, [keyof InvocationRecord, Read]>([
  ...same(text, "app", "fn", "method", "variant", "version", "encoding", "key", "rate", "inputFrom", "redrivenFrom"),
  ...same(text, "redrivenAs", "state", "runner", "node", "container", "reason", "series", "webhook", "trigger"),
  ...same(number, "timeoutMs", "retries", "maxQueueMs", "priority", "keyLimit", "expiresAt", "generation", "attempts"),
  ...same(number, "userFaults", "platformFaults", "createdAt", "dueAt", "claimedAt", "startedAt", "endedAt"),
  ...same(number, "finishedAt", "bootMs", "enterMs", "tick"),
  ...same(json, "backoff", "error", "delivery", "history"),
  ...same(bytes, "input", "exception"),
  ...same(set, "acceptPickle", "atMostOnce", "cancelRequested"),
  ["parked", ["isParked", set]],
  ["calls", ["hasCalls", set]],
  ["startsOver", ["startsOver", yes]],
  ["awaits", ["awaits", (value) => text(value) || undefined]],
  ["ttl", ["ttlSeconds", number]],
]);

/** HGETALL's flat reply; `undefined` for a record that does not exist. */
export function parseRecord(id: string, flat: Buffer[] | null | undefined): InvocationRecord | undefined {
  if (!flat || flat.length === 0) return undefined;
  const read: Record<string, unknown> = {
    id,
    acceptPickle: false,
    atMostOnce: false,
    isParked: false,
    attempts: 0,
    userFaults: 0,
    platformFaults: 0,
    cancelRequested: false,
    hasCalls: false,
    startsOver: false,
  };
  const parts: Parts = {};
  for (let i = 0; i < flat.length; i += 2) {
    const name = flat[i]!.toString("latin1");
    const field = FIELDS.get(name);
    if (field) read[field[0]] = field[1](flat[i + 1]!);
    else parts[name] = flat[i + 1]!;
  }
  const record = read as unknown as InvocationRecord;
  if (parts.parent) record.caller = parseCaller(parts);
  if (parts.resultEncoding) record.result = parseResult(parts);
  if (parts.total) record.map = parseCounts(parts);
  const dot = id.indexOf(".");
  if (dot >= 0) record.slice = parseSlice(id.slice(0, dot), parts);
  return record;
}

/** `<id> ` and the record as `packed` in lua/lib writes it. */
export function parsePacked(message: Buffer): InvocationRecord {
  const space = message.indexOf(0x20);
  return parseRecord(message.toString("latin1", 0, space), unpackList(message, space + 1))!;
}

function parseCaller({ parent, parentGeneration, root, depth, awaited }: Parts): Caller {
  return {
    id: `${parent}`,
    generation: Number(parentGeneration),
    root: `${root}`,
    depth: Number(depth),
    awaited: `${awaited}` === "1",
  };
}

const parseCounts = ({ total, sealed, done, failed, inlineBytes }: Parts): MapCounts => ({
  total: Number(total),
  sealed: sealed !== undefined,
  done: Number(done),
  failed: Number(failed),
  inlineBytes: Number(inlineBytes),
});

const parseSlice = (map: string, { first, count, page, solo }: Parts): SliceFacts => ({
  map,
  first: Number(first),
  count: Number(count),
  page: Number(page),
  solo: solo !== undefined,
});

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

function parseResult({ resultEncoding, resultSize, result, resultKey }: Parts): ResultRef {
  return {
    encoding: `${resultEncoding}` as Encoding,
    size: Number(resultSize),
    inline: result,
    key: resultKey?.toString(),
  };
}
