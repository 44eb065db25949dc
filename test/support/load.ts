/** Calls under load that remember what was accepted: a reply said so, or asking again with the same Idempotency-Key did. */
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { AcceptedCall, Execution, Final, Observed } from "./checker.ts";
import { violations } from "./checker.ts";
import type { TestFabric } from "./fabric.ts";
import { type OpenLoop, openLoop, repeated } from "./open-loop.ts";
import { until } from "./redis.ts";

export interface Kind {
  fn: string;
  /** Of all calls; shares add up to whatever they do. */
  share: number;
  /** Not to begin before. */
  delaySeconds?: number;
}

export interface Load extends Omit<OpenLoop<AcceptedCall>, "done"> {
  accepted: AcceptedCall[];
  /** Replies that did not accept, by status or kind of failure. */
  refusals: Map<string, number>;
}

export interface LoadOptions {
  fabric: TestFabric;
  journal: string;
  perSecond: number;
  kinds: Kind[];
}

const REPLY_MS = 10_000;
/** Of five calls four carry a key and are repeated until accepted; the fifth is sent once. */
const KEYED = 5;

export function startLoad({ fabric, journal, perSecond, kinds }: LoadOptions): Load {
  const name = loadName();
  const refusals = new Map<string, number>();
  const wheel = kinds.flatMap(({ share, ...kind }) => Array.from({ length: share }, () => kind));
  const { done, ...loop } = openLoop(perSecond, async (n, over): Promise<AcceptedCall | undefined> => {
    const { fn, delaySeconds } = wheel[n % wheel.length]!;
    const call = { fn, token: `${name}-${n}` };
    const key = n % KEYED === KEYED - 1 ? undefined : call.token;
    const due = delaySeconds === undefined ? {} : { notBefore: monotonicSeconds() + delaySeconds };
    const attempt = async (): Promise<string | undefined> => {
      const reply = await send(fabric, { ...call, journal, key }, delaySeconds);
      if ("id" in reply) return reply.id;
      refusals.set(reply.refused, (refusals.get(reply.refused) ?? 0) + 1);
      return undefined;
    };
    const id = await (key === undefined ? attempt() : repeated(attempt, over));
    return id === undefined ? undefined : { id, ...call, ...due };
  });
  return { accepted: done, refusals, ...loop };
}

/** Tokens of different loads differ. */
export const loadName = (): string => randomBytes(3).toString("hex");

/** On the clock of the functions' journal. */
const monotonicSeconds = (): number => Number(process.hrtime.bigint()) / 1e9;

export type Reply = { id: string } | { refused: string };

/** One request; a connection that breaks and an answer that does not come are refusals too. */
export async function send(
  fabric: Pick<TestFabric, "fetch">,
  { fn, key, ...input }: { fn: string; token: string; key?: string | undefined; [argument: string]: unknown },
  delaySeconds?: number,
): Promise<Reply> {
  try {
    const reply = await fabric.fetch(`/v1/apps/faults/functions/${fn}/invocations`, {
      method: "POST",
      body: JSON.stringify(input),
      headers: {
        "content-type": "application/json",
        prefer: "respond-async",
        ...(key === undefined ? {} : { "idempotency-key": key }),
        ...(delaySeconds === undefined ? {} : { "fabric-delay": String(delaySeconds) }),
      },
      signal: AbortSignal.timeout(REPLY_MS),
    });
    const body = (await reply.json()) as any;
    const id = body.id ?? reply.headers.get("fabric-invocation") ?? undefined;
    return id === undefined ? { refused: `${reply.status} ${body.error?.code}` } : { id };
  } catch (thrown) {
    return { refused: thrown instanceof Error ? thrown.name : String(thrown) };
  }
}

/** What a call of the app in test/apps/faults.py must end with. */
export function expected({ fn, token }: AcceptedCall): { state: string; value: unknown } {
  if (fn === "wrong") return { state: "failed", value: "exception" };
  if (fn === "large")
    return { state: "succeeded", value: `${token} `.repeat(Math.floor(100_000 / (token.length + 1))) };
  if (fn === "parent") return { state: "succeeded", value: childTokens(token) };
  return { state: "succeeded", value: token };
}

/** What the calls are given that a parent makes: one spawned, one awaited, two in a map. */
export const childTokens = (token: string): string[] => [0, 1, 2, 3].map((n) => `${token}.${n}`);

/** Waits for the end of all calls, looks at each twice, and answers the promises that were broken. */
export async function check(
  fabric: TestFabric,
  accepted: AcceptedCall[],
  journal: string,
  options: { disruptions: number; deadlineMs?: number },
): Promise<string[]> {
  const finals = await allFinals(fabric, accepted, options.deadlineMs ?? 60_000);
  const again = await allFinals(fabric, accepted, 30_000);
  const observed: Observed = {
    accepted,
    finals: [...finals, ...again],
    executions: await executionsIn(journal),
    expected,
    disruptions: options.disruptions,
  };
  return violations(observed);
}

const LOOKS_AT_ONCE = 8;

/** Those that do not end in time are left out: the checker names them. */
const allFinals = (fabric: TestFabric, accepted: AcceptedCall[], deadlineMs: number): Promise<Final[]> =>
  ofEnded(
    fabric,
    accepted.map(({ id }) => id),
    deadlineMs,
    (record) => finalOf(fabric, record),
  );

/** What `read` finds of each that has ended. */
export async function ofEnded<T>(
  fabric: TestFabric,
  ids: readonly string[],
  deadlineMs: number,
  read: (record: any) => Promise<T>,
): Promise<T[]> {
  const end = performance.now() + deadlineMs;
  const left = [...ids];
  const found: T[] = [];
  const look = async (id: string): Promise<void> => {
    let seen: any;
    const ended = async (): Promise<{ of: T } | undefined> => {
      seen = await fabric.record(id);
      return ["succeeded", "failed", "cancelled"].includes(seen.state) ? { of: await read(seen) } : undefined;
    };
    try {
      found.push((await until(() => ended().catch(() => undefined), Math.max(1, end - performance.now()), id)).of);
    } catch {
      console.error(`not ended: ${JSON.stringify(seen)}`);
    }
  };
  const each = async (): Promise<void> => {
    for (let id = left.pop(); id; id = left.pop()) await look(id);
  };
  await Promise.all(Array.from({ length: LOOKS_AT_ONCE }, each));
  return found;
}

export async function finalOf(fabric: TestFabric, record: any): Promise<Final> {
  const { id, state, attempts, userFaults, platformFaults } = record;
  const reply = await fabric.fetch(`/v1/invocations/${id}/result`);
  const body = (await reply.json()) as any;
  const outcome =
    state === "succeeded" ? { value: body.result } : { value: body.error.code, message: body.error.message };
  return { id, state, attempts, userFaults, platformFaults, ...outcome };
}

export async function executionsIn(journal: string): Promise<Execution[]> {
  const open = new Map<string, Execution>();
  const all: Execution[] = [];
  for (const line of (await readFile(journal, "utf8")).split("\n")) {
    const [event, token = "", process = "", at] = line.split(" ");
    const key = `${token} ${process}`;
    if (event === "start") {
      const execution: Execution = { token, process, startedAt: Number(at) };
      open.set(key, execution);
      all.push(execution);
    } else if (event === "end") open.get(key)!.endedAt = Number(at);
  }
  return all;
}
