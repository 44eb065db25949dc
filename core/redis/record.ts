/** A record as Redis holds it (a flat hash) and as the rest of fabric sees it. */
import type { InvocationRecord, InvocationState, NewInvocation, Outcome, ResultRef } from "../invocation.ts";
import type { Encoding } from "../protocol.ts";

type Fields = (string | number | Buffer)[];

export function newRecordFields(call: NewInvocation): Fields {
  const fields: Fields = [
    ["version", call.version],
    ["encoding", call.encoding],
    ["timeoutMs", call.timeoutMs],
    ["retries", call.retries],
  ].flat();
  if (call.acceptPickle) fields.push("acceptPickle", 1);
  if (call.input) fields.push("input", call.input);
  if (call.waiter) fields.push("waiters", call.waiter);
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
  return {
    id,
    app: text("app")!,
    fn: text("fn")!,
    version: text("version")!,
    encoding: text("encoding") as Encoding,
    acceptPickle: "acceptPickle" in raw,
    timeoutMs: number("timeoutMs")!,
    retries: number("retries")!,
    state: text("state") as InvocationState,
    generation: number("generation")!,
    attempts: number("attempts") ?? 0,
    userFaults: number("userFaults") ?? 0,
    platformFaults: number("platformFaults") ?? 0,
    cancelRequested: "cancelRequested" in raw,
    createdAt: number("createdAt")!,
    claimedAt: number("claimedAt"),
    startedAt: number("startedAt"),
    endedAt: number("endedAt"),
    finishedAt: number("finishedAt"),
    bootMs: number("bootMs"),
    enterMs: number("enterMs"),
    input: raw.input,
    runner: text("runner"),
    node: text("node"),
    container: text("container"),
    reason: text("reason"),
    series: text("series"),
    startsOver: text("startsOver") === "1",
    result: parseResult(raw),
    error: error === undefined ? undefined : JSON.parse(error),
    exception: raw.exception,
  };
}

/** `<id> ` and the record as `packed` in lib.lua writes it. */
export function parsePacked(message: Buffer): InvocationRecord {
  const space = message.indexOf(0x20);
  const flat: Buffer[] = [];
  for (let at = space + 1; at < message.length; ) {
    const end = at + 4 + message.readUInt32BE(at);
    flat.push(message.subarray(at + 4, end));
    at = end;
  }
  return parseRecord(message.toString("latin1", 0, space), flat)!;
}

function parseResult(raw: Record<string, Buffer>): ResultRef | undefined {
  if (!raw.resultEncoding) return undefined;
  return {
    encoding: raw.resultEncoding.toString() as Encoding,
    size: Number(raw.resultSize),
    inline: raw.result,
    key: raw.resultKey?.toString(),
  };
}
