/** The whole story of an invocation for a person: where it is and why, what it went through, what it needs, what to do. */
import { z } from "@hono/zod-openapi";
import type { Booking, NodeFacts } from "../core/capacity-ledger.ts";
import { ERRORS, type ErrorKind } from "../core/errors.ts";
import { gangOf, isGang } from "../core/gang.ts";
import { type InvocationRecord, isTerminal, type Moments, type PastAttempt } from "../core/invocation.ts";
import { PLATFORM_BUDGET } from "../core/retry.ts";
import { timings } from "../core/server-timing.ts";
import { CHILDREN_SHOWN, showInvocation } from "../core/show-invocation.ts";
import { type FunctionSpec, slotsOf } from "../core/spec.ts";
import { calledName, parseVariant, servedFunction, specName } from "../core/variant.ts";
import { duration, type Wait } from "../core/wait.ts";
import type { GatewayDeps } from "./deps.ts";
import { invocationSchema } from "./invocation-schema.ts";
import { SKEW_MS } from "./log-archive.ts";
import { lineSchema } from "./log-line.ts";
import { readLast } from "./read-logs.ts";

const moment = z.iso.datetime().optional();

const attemptSchema = z.object({
  generation: z.number().int(),
  node: z.string().optional(),
  container: z.string().optional(),
  claimedAt: moment,
  startedAt: moment,
  endedAt: moment,
  /** How it ended, or what it does. */
  outcome: z.string(),
  /** Which budget paid for its end. */
  charged: z.enum(["user", "platform", "none"]).optional(),
  /** Milliseconds. */
  timings: z.record(z.string(), z.number()),
});

const budgetSchema = z.object({ spent: z.number().int(), of: z.number().int() });

export const explanationSchema = z
  .object({
    invocation: invocationSchema,
    /** One sentence. */
    summary: z.string(),
    /** The last 11 at most. */
    attempts: z.array(attemptSchema),
    budgets: z.object({ user: budgetSchema, platform: budgetSchema }),
    /** What a container of its function takes; absent when its version is gone. */
    needs: z
      .object({
        cpu: z.number(),
        memoryMiB: z.number(),
        gpu: z.unknown().optional(),
        slots: z.number().int(),
        maxContainers: z.number().int(),
        /** Containers that start together; a gang counts as one of `maxContainers`. */
        gang: z.number().int().optional(),
      })
      .optional(),
    /** While it waits: what every node has left, and who holds the rest. */
    nodes: z
      .array(
        z.object({
          node: z.string(),
          free: z.object({ cpu: z.number(), memoryMiB: z.number(), gpus: z.number().int() }),
          held: z.array(z.object({ function: z.string(), containers: z.number().int(), gpus: z.number().int() })),
        }),
      )
      .optional(),
    /** Of one that failed: who has to act, and what to do. */
    verdict: z.object({ fault: z.enum(["user", "platform"]), retryable: z.boolean(), help: z.string() }).optional(),
    /** The last lines it printed. */
    logs: z.array(lineSchema),
  })
  .openapi("Explanation");
export type Explanation = z.infer<typeof explanationSchema>;

type Deps = Pick<GatewayDeps, "state" | "waits" | "objects" | "registry" | "clock">;
const LOG_LINES = 20;
const MIB = 1024 * 1024;

export async function explainInvocation(deps: Deps, record: InvocationRecord): Promise<Explanation> {
  const isOpen = !isTerminal(record.state);
  const isWaiting = isOpen && record.container === undefined && !record.map;
  const [wait, children, spec, logs, nodes] = await Promise.all([
    isOpen ? deps.waits.of(record) : undefined,
    record.hasCalls ? deps.state.invocations.children(record.id, CHILDREN_SHOWN) : undefined,
    specOf(deps, record),
    lastLines(deps, record),
    isWaiting ? nodesOf(deps) : undefined,
  ]);
  return {
    invocation: showInvocation(record, children, wait),
    summary: summaryOf(record, wait),
    attempts: attemptsOf(record, wait),
    budgets: {
      user: { spent: record.userFaults, of: record.retries },
      platform: { spent: record.platformFaults, of: PLATFORM_BUDGET },
    },
    needs: spec && needsOf(spec),
    nodes,
    verdict: verdictOf(record),
    logs: logs as Explanation["logs"],
  };
}

/** Pure. */
export function summaryOf(record: InvocationRecord, wait?: Wait): string {
  const { app, state, error, createdAt, finishedAt, attempts } = record;
  const name = `${app}/${calledName(record)}`;
  const tries = attempts > 1 ? ` in ${attempts} attempts` : "";
  const took = finishedAt === undefined ? "" : ` after ${duration(finishedAt - createdAt)}`;
  if (state === "succeeded") return `${name} succeeded${took}${tries}`;
  if (state === "cancelled") return `${name} was cancelled${took}`;
  if (state === "failed")
    return `${name} failed${took}${tries}: ${firstLine(error?.message ?? "for an unknown reason")}`;
  return `${name} is ${state}: ${wait?.reason ?? ""}`;
}

/** Pure: earlier attempts and, once it was claimed, the latest one. */
export function attemptsOf(record: InvocationRecord, wait?: Wait): Explanation["attempts"] {
  const { state, history = [], error, claimedAt, generation, node, container } = record;
  const past = history.map(({ why, charge, at, ...attempt }) => ({
    ...shownAttempt({ ...attempt, endedAt: attempt.endedAt ?? at }, queuedAt(record, history, attempt.generation)),
    outcome: why,
    charged: CHARGES[charge],
  }));
  // A map has none of its own: its slices do.
  if (claimedAt === undefined || record.map) return past;
  const outcome = isTerminal(state)
    ? error
      ? `${state}: ${firstLine(error.message)}`
      : state
    : (wait?.reason ?? state);
  const latest = shownAttempt({ ...record, generation, node, container }, queuedAt(record, history, generation));
  return [...past, { ...latest, outcome }];
}

const CHARGES = { userFaults: "user", platformFaults: "platform", "": "none" } as const;

/** An attempt's time in the queue begins when the one before was given up. */
function queuedAt({ createdAt, dueAt }: InvocationRecord, history: readonly PastAttempt[], generation: number): number {
  const before = history.filter((one) => one.generation < generation).at(-1)?.at ?? createdAt;
  return dueAt !== undefined && dueAt > before ? dueAt : before;
}

function shownAttempt(
  attempt: Omit<Moments, "createdAt"> & { generation: number; node?: string; container?: string },
  createdAt: number,
): Omit<Explanation["attempts"][number], "outcome"> {
  const { generation, node, container, claimedAt, startedAt, endedAt } = attempt;
  return {
    ...{ generation, node, container, claimedAt: iso(claimedAt), startedAt: iso(startedAt), endedAt: iso(endedAt) },
    timings: { ...timings({ ...attempt, createdAt }) } as Record<string, number>,
  };
}

function verdictOf({ state, error }: InvocationRecord): Explanation["verdict"] {
  if (state !== "failed" || !error) return undefined;
  // A record may be older than this table.
  const kind: ErrorKind | undefined = ERRORS[error.code];
  return { fault: error.fault, retryable: error.retryable, help: kind?.help ?? "" };
}

/** As it is served: of a class with the options it was called with. */
async function specOf({ registry }: Deps, { app, fn, version, variant }: InvocationRecord) {
  const spec = (await registry.version(app, version))?.functions.find(({ name }) => name === specName(fn));
  return spec && servedFunction(spec, fn, variant === undefined ? undefined : parseVariant(variant));
}

function needsOf(spec: FunctionSpec): Explanation["needs"] {
  const { cpu, memory, gpu, max_containers } = spec;
  const reserved = (amount: number | [number, number]): number => (Array.isArray(amount) ? amount[0] : amount);
  return {
    ...{ cpu: reserved(cpu), memoryMiB: reserved(memory), slots: slotsOf(spec), maxContainers: max_containers },
    ...(gpu === null ? {} : { gpu }),
    ...(isGang(spec) ? { gang: gangOf(spec) } : {}),
  };
}

async function lastLines(deps: Deps, { id, app, createdAt, finishedAt }: InvocationRecord) {
  const filter = { invocation: id, sinceMs: createdAt - SKEW_MS, untilMs: finishedAt && finishedAt + SKEW_MS };
  return (await readLast(deps, app, LOG_LINES, filter)).lines;
}

async function nodesOf({ state, waits }: Deps): Promise<Explanation["nodes"]> {
  const { nodes } = await waits.fleet();
  return Promise.all(nodes.map(async (node) => shownNode(node, await state.capacity.bookings(node.id))));
}

function shownNode(node: NodeFacts, bookings: Booking[]): NonNullable<Explanation["nodes"]>[number] {
  const sum = (pick: (one: Booking) => number): number => bookings.reduce((total, one) => total + pick(one), 0);
  const held = [...new Set(bookings.map(({ key }) => key))].map((key) => {
    const own = bookings.filter((one) => one.key === key);
    return { function: key, containers: own.length, gpus: own.reduce((total, { gpus }) => total + gpus.length, 0) };
  });
  return {
    node: node.id,
    free: {
      cpu: (node.cpuMillis - sum(({ cpuMillis }) => cpuMillis)) / 1000,
      memoryMiB: Math.floor((node.memoryBytes - sum(({ memoryBytes }) => memoryBytes)) / MIB),
      gpus: node.gpus.length - sum(({ gpus }) => gpus.length),
    },
    held: held.sort((a, b) => b.gpus - a.gpus || b.containers - a.containers),
  };
}

const firstLine = (text: string): string => text.split("\n")[0]!.slice(0, 500);
const iso = (ms: number | undefined): string | undefined => (ms === undefined ? undefined : new Date(ms).toISOString());
