/** Takes one function's entries from its queue: only what has a slot here, or a container that is being started for it. */
import type { Clock } from "../core/clock.ts";
import { asFabricError, FabricError } from "../core/errors.ts";
import { type FunctionKey, type InvocationRecord, splitFunctionKey } from "../core/invocation.ts";
import type { Log } from "../core/log.ts";
import type { Queue, QueueReader } from "../core/queue.ts";
import type { Registry } from "../core/registry.ts";
import type { FunctionSpec, VersionManifest } from "../core/spec.ts";
import type { Attempt, StateStore } from "../core/state-store.ts";
import { untilDone } from "../core/until-done.ts";
import type { AttemptHooks, Claimed, LiveAttempt } from "./attempt.ts";
import { claimSurely } from "./claim.ts";
import type { NodeIdentity } from "./container-plan.ts";
import { gather } from "./gather.ts";
import type { Leases } from "./leases.ts";
import { lookahead, smooth, takesNow } from "./pace.ts";
import type { Pool } from "./pool.ts";

export interface IntakeDeps {
  state: Pick<StateStore, "invocations" | "hints">;
  queue: Queue;
  registry: Pick<Registry, "current" | "version">;
  leases: Leases;
  identity: NodeIdentity;
  leaseMs: number;
  clock: Clock;
  log: Log;
  createAttempt(claimed: Claimed, hooks: AttemptHooks): LiveAttempt;
  createPool(manifest: VersionManifest, fn: FunctionSpec, onChange: () => void): Pool;
}

export interface Intake {
  readonly key: FunctionKey;
  /** There may be work. */
  wake(): void;
  /** Slots may have become free. */
  pump(): void;
  /** Once a second: scales, trims, closes what is cold. */
  tick(): Promise<void>;
  /** The pool of a version, made when there is none; `undefined` when the version or function is unknown. */
  pool(version: string): Promise<Pool | undefined>;
  pools(): Pool[];
  /** Takes an attempt over that was claimed before a restart; its entry is acknowledged as usual. */
  track(record: InvocationRecord): Promise<LiveAttempt>;
  /** Renews what it has taken from the queue. */
  renew(): void;
  stop(): void;
  isCold(): boolean;
  close(): Promise<void>;
}

const SCALE_EVERY_MS = 100;
const COLD_MS = 30_000;
const STUCK_MS = 1_000;
/** Nobody waits for an acknowledgement, and many at once cost little more than one. */
const ACK_DELAY_MS = 5;

export function createIntake(deps: IntakeDeps, key: FunctionKey): Intake {
  const { state, queue, leases, clock, log } = deps;
  const { app, fn: name } = splitFunctionKey(key);
  const pools = new Map<string, Pool>();
  const homes = new Map<LiveAttempt, Pool>();
  const taken = new Map<string, Attempt>();
  const since = new Map<LiveAttempt, number>();
  let reader: Promise<QueueReader> | undefined;
  const nextAcks = gather(clock, ACK_DELAY_MS);
  let wakes = 0;
  let dry = true;
  let streak = 0;
  let inFlight = 0;
  let stopped = false;
  let lastVersion: string | undefined;
  let runMs: number | undefined;
  let reason: string | undefined;
  let scaledAt = Number.NEGATIVE_INFINITY;
  let scaling = false;
  let listed = true;
  let workAt = clock.monotonic();

  const open = (): Promise<QueueReader> => {
    reader ??= queue.open(key, deps.identity.runner).catch((thrown: unknown) => {
      reader = undefined;
      throw thrown;
    });
    return reader;
  };

  async function acknowledge(entry: Attempt): Promise<void> {
    await nextAcks();
    await (await open()).acknowledge(entry);
    taken.delete(`${entry.id} ${entry.generation}`);
  }

  async function makePool(version: string): Promise<Pool | undefined> {
    const manifest = await untilDone(() => deps.registry.version(app, version));
    const spec = manifest?.functions.find((one) => one.name === name);
    if (!manifest || !spec) return undefined;
    const made = pools.get(version) ?? deps.createPool(manifest, spec, pump);
    pools.set(version, made);
    return made;
  }
  const pool = async (version: string): Promise<Pool | undefined> => pools.get(version) ?? makePool(version);
  function register(record: InvocationRecord, entry: Attempt): LiveAttempt {
    const attempt: LiveAttempt = deps.createAttempt(
      { key, record, acknowledge: () => acknowledge(entry) },
      {
        onReleased() {
          const started = attempt.startedAt();
          if (started !== undefined) runMs = smooth(runMs, clock.monotonic() - started);
          homes.get(attempt)?.release(attempt);
        },
        onEnded() {
          leases.remove(attempt);
          homes.get(attempt)?.forget(attempt);
          homes.delete(attempt);
          since.delete(attempt);
        },
      },
    );
    leases.add(attempt);
    since.set(attempt, clock.monotonic());
    return attempt;
  }

  async function dispatch(record: InvocationRecord, entry: Attempt): Promise<void> {
    const attempt = register(record, entry);
    try {
      const home = pools.get(record.version) ?? (await makePool(record.version));
      if (!home)
        return attempt.fault(new FabricError("version_not_found", `no version ${record.version} of ${key}`).toBody());
      lastVersion = record.version;
      homes.set(attempt, home);
      if (record.attempts > 1 && (await attempt.settledBefore())) return;
      if (record.cancelRequested) attempt.cancel("cancelled");
      else if (stopped) attempt.giveBack("its node is being stopped");
      else if (attempt.state() === "waiting") home.submit(attempt);
    } catch (thrown) {
      if (attempt.state() !== "ended") attempt.fault(asFabricError(thrown).toBody());
    }
  }

  async function take(): Promise<void> {
    const seen = wakes;
    const from = await open();
    const entry = await from.next();
    if (!entry) {
      streak = 0;
      if (seen === wakes) dry = true;
      return;
    }
    streak++;
    workAt = clock.monotonic();
    taken.set(`${entry.id} ${entry.generation}`, entry);
    const record = await claimSurely(state.invocations, entry, deps.identity, deps.leaseMs);
    if (record && !leases.find(entry)) await dispatch(record, entry);
    else await acknowledge(entry);
  }

  const permits = (): { room: number; ahead: number } => {
    let open = 0;
    let busy = 0;
    for (const one of pools.values()) {
      open += one.openSlots();
      busy += one.load(0).busySlots;
    }
    // With no version known, one entry is taken to learn it.
    if (pools.size === 0 && lastVersion === "?") return { room: 1 - inFlight, ahead: 0 };
    const ahead = lookahead(runMs, busy);
    return { room: open + ahead - inFlight, ahead };
  };

  function pump(): void {
    if (stopped) return;
    const { room, ahead } = permits();
    if (dry) return;
    const count = takesNow(room, streak, inFlight, ahead);
    if (count === 0 && inFlight === 0) void scaleSoon();
    for (let i = 0; i < count; i++) {
      inFlight++;
      take().then(
        () => {
          inFlight--;
          pump();
        },
        (err: unknown) => {
          inFlight--;
          dry = true;
          log.warn({ err, key }, "an entry could not be taken");
        },
      );
    }
    if (room <= count && streak > 0) void scaleSoon();
  }

  async function scaleSoon(): Promise<void> {
    if (scaling || stopped || clock.monotonic() - scaledAt < SCALE_EVERY_MS) return;
    scaling = true;
    scaledAt = clock.monotonic();
    try {
      await scale();
    } catch (err) {
      log.warn({ err, key }, "could not scale");
    } finally {
      scaling = false;
    }
    pump();
  }

  async function scale(): Promise<void> {
    const queued = dry ? 0 : await queue.depth(key);
    const target = await expected();
    if (queued > 0 && !target && pools.size === 0) lastVersion = "?";
    for (const one of pools.values()) {
      const refused = await one.scale(one === target ? queued : 0, runMs);
      if (refused !== reason && (refused !== undefined || one.waiting().length > 0)) tell(one, refused);
      one.trim(one === target ? queued : 0);
      if (one.isEmpty() && one !== target) pools.delete(one.version);
    }
  }

  /** The version that entries still in the queue most likely ask for. */
  async function expected(): Promise<Pool | undefined> {
    const last = lastVersion === undefined ? undefined : pools.get(lastVersion);
    if (last) return last;
    const current = await deps.registry.current(app);
    return current && pool(current.version);
  }

  function tell(of: Pool, refused: string | undefined): void {
    reason = refused;
    for (const attempt of of.waiting())
      state.invocations
        .note(attempt, { reason: refused ?? "starting a container" })
        .catch((err: unknown) => log.debug({ err, key }, "a note was not taken"));
  }

  /** What was taken ahead of its slot, and then found all slots kept busy, goes to whoever has one. */
  function returnStuck(): void {
    const now = clock.monotonic();
    for (const one of pools.values()) {
      const { starting, containers } = one.load(0);
      if (starting > 0 || containers === 0) continue;
      for (const attempt of [...one.waiting()]) {
        if (now - (since.get(attempt) ?? now) < STUCK_MS) continue;
        runMs = STUCK_MS;
        attempt.giveBack("all slots of its node are busy");
      }
    }
  }

  async function lookIdle(): Promise<void> {
    if (!dry || inFlight > 0 || !listed) return;
    listed = false;
    await state.hints.idle(key, () => queue.isEmpty(key));
  }

  return {
    key,
    wake() {
      wakes++;
      dry = false;
      listed = true;
      pump();
    },
    pump,
    async tick() {
      if (stopped) return;
      returnStuck();
      await scaleSoon();
      await lookIdle();
    },
    pool,
    pools: () => [...pools.values()],
    async track(record) {
      const entry = { id: record.id, generation: record.generation };
      taken.set(`${entry.id} ${entry.generation}`, entry);
      const attempt = register(record, entry);
      const home = await pool(record.version);
      if (home) homes.set(attempt, home);
      return attempt;
    },
    renew() {
      if (taken.size === 0) return;
      const entries = [...taken.values()];
      open()
        .then((from) => from.renew(entries))
        .catch((err: unknown) => log.warn({ err, key }, "entries not renewed"));
    },
    stop() {
      stopped = true;
      for (const one of pools.values())
        for (const attempt of [...one.waiting()]) attempt.giveBack("its node is being stopped");
    },
    isCold: () => dry && inFlight === 0 && taken.size === 0 && pools.size === 0 && clock.monotonic() - workAt > COLD_MS,
    async close() {
      stopped = true;
      await (await reader)?.close();
    },
  };
}
