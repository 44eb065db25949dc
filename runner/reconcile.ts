/**
 * After a runner died its containers live on: adopts those whose shim comes back with the attempts inside, removes the
 * others, gives stale bookings back, and queues again what has no container any more.
 */
import { readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Booking } from "../core/capacity-ledger.ts";
import type { Clock } from "../core/clock.ts";
import type { ContainerEngine, ContainerStatus } from "../core/engine.ts";
import { FabricError } from "../core/errors.ts";
import { type FunctionKey, functionKey } from "../core/invocation.ts";
import type { Log } from "../core/log.ts";
import type { Registry } from "../core/registry.ts";
import type { Attempt, StateStore } from "../core/state-store.ts";
import { untilDone } from "../core/until-done.ts";
import type { LiveAttempt } from "./attempt.ts";
import type { Container } from "./container-contract.ts";
import { LABELS, type NodeIdentity } from "./container-plan.ts";
import type { RunnerDirs } from "./dirs.ts";
import type { Intake } from "./intake.ts";
import type { Leases } from "./leases.ts";

export interface ReconcileDeps {
  state: StateStore;
  engine: ContainerEngine;
  registry: Pick<Registry, "version">;
  identity: NodeIdentity;
  clock: Clock;
  log: Log;
  dirs: RunnerDirs;
  leases: Leases;
  intakeOf(key: FunctionKey): Intake;
}

export interface Reconcile {
  run(): Promise<void>;
  /** An attempt that a container reported: ours from before the restart, or `undefined`. */
  adopt(container: Container, attempt: Attempt): LiveAttempt | undefined;
}

/** Shims reconnect every few hundred milliseconds; a container that has not by then is not coming back. */
const RECONNECT_MS = 10_000;
const LOOK_MS = 50;
/** Results that a shim still holds follow its `ready` at once. */
const RESEND_MS = 500;
const lost = new FabricError("container_killed", "Its container ended while the runner of its node was away.");
const keyOf = ({ id, generation }: Attempt): string => `${id} ${generation}`;

export function createReconcile(deps: ReconcileDeps): Reconcile {
  const { state, engine, registry, identity, clock, log, dirs } = deps;
  const orphans = new Map<string, LiveAttempt>();

  async function adoptContainer(
    found: ContainerStatus,
    bookings: Map<string, Booking>,
  ): Promise<Container | undefined> {
    const { [LABELS.app]: app, [LABELS.fn]: fn, [LABELS.version]: version, [LABELS.variant]: variant } = found.labels;
    // What its ranks had told is gone with the runner, so their attempt is fenced and tried again; they have ended themselves.
    if (found.labels[LABELS.gang] !== undefined) return undefined;
    const booking = bookings.get(found.id);
    if (found.state !== "running" || !booking || !app || !fn || !version) return undefined;
    const manifest = await untilDone(() => registry.version(app, version));
    if (!manifest) return undefined;
    const pool = await deps.intakeOf(functionKey(app, fn)).pool(version, variant);
    log.info({ container: found.id, app, fn, version }, "adopting a container");
    return pool?.adoptContainer(found.id, booking.gpus);
  }

  /** Until every adopted container is ready or gone, and had time to send what it still held. */
  async function settleDown(adopted: Container[]): Promise<void> {
    const until = clock.monotonic() + RECONNECT_MS;
    const isPending = (one: Container): boolean => one.phase() === "booked" || one.phase() === "starting";
    while (adopted.some(isPending) && clock.monotonic() < until) await pause(LOOK_MS);
    for (const one of adopted.filter(isPending)) one.kill("its shim did not come back after a restart");
    if (orphans.size > 0) await pause(RESEND_MS);
    for (const attempt of orphans.values()) attempt.fault(lost.toBody());
    orphans.clear();
  }

  const pause = (ms: number): Promise<void> => new Promise((resolve) => clock.after(ms, resolve));

  async function clear(found: ContainerStatus[], adopted: Set<string>, bookings: Booking[]): Promise<void> {
    for (const { id } of found) if (!adopted.has(id)) await engine.remove(id);
    await engine.endGang();
    const stale = bookings.map((one) => one.container).filter((id) => !adopted.has(id));
    await untilDone(() => state.capacity.release(identity.node, stale));
    await removeFolders(dirs, adopted);
  }

  return {
    adopt(_container, attempt) {
      const orphan = orphans.get(keyOf(attempt));
      orphans.delete(keyOf(attempt));
      return orphan?.state() === "waiting" ? orphan : undefined;
    },

    async run() {
      const owned = await untilDone(() => state.invocations.ownedBy(identity.runner));
      const bookings = await untilDone(() => state.capacity.bookings(identity.node));
      // Who waits says so again.
      await untilDone(() => state.capacity.lend(identity.node, notesOff(bookings)));
      const found = await engine.list({ [LABELS.fabric]: identity.fabric, [LABELS.node]: identity.node });
      const byId = new Map(bookings.map((one) => [one.container, one]));
      for (const record of owned) {
        const attempt = await deps.intakeOf(functionKey(record.app, record.fn)).track(record);
        orphans.set(keyOf(record), attempt);
      }
      if (owned.length > 0) await untilDone(() => deps.leases.renewNow());
      const adopted: Container[] = [];
      for (const one of found) {
        const container = await adoptContainer(one, byId);
        if (container) adopted.push(container);
      }
      await clear(found, new Set(adopted.map((one) => one.id)), bookings);
      settleDown(adopted).catch((err: unknown) => log.error({ err }, "reconciling did not end well"));
    },
  };
}

const notesOff = (bookings: Booking[]): Record<string, string[]> =>
  Object.fromEntries(bookings.filter((one) => one.waits).map((one) => [one.container, []]));

async function removeFolders(dirs: RunnerDirs, adopted: Set<string>): Promise<void> {
  const kept = new Set([...adopted].flatMap((id) => [dirs.socketDir(id), dirs.scratchDir(id)]));
  const parents = [dirname(dirs.socketDir("x")), dirname(dirs.scratchDir("x"))];
  for (const parent of parents)
    for (const name of await namesIn(parent))
      if (!kept.has(join(parent, name))) await rm(join(parent, name), { recursive: true, force: true });
  await rm(dirs.spool, { recursive: true, force: true });
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw thrown;
  }
}
