/** Takes one function's entries from its queue: only what has a slot here, or a container that is being started for it. */
import type { Clock } from "../core/clock.ts";
import { asFabricError, FabricError } from "../core/errors.ts";
import { type FunctionKey, type InvocationRecord, splitFunctionKey } from "../core/invocation.ts";
import type { Log } from "../core/log.ts";
import type { Queue } from "../core/queue.ts";
import type { Registry } from "../core/registry.ts";
import type { Attempt, Offer, StateStore } from "../core/state-store.ts";
import type { AttemptHooks, Claimed, LiveAttempt } from "./attempt.ts";
import { type ClaimDeps, createClaims } from "./claim.ts";
import { createEntries } from "./entries.ts";
import type { Leases } from "./leases.ts";
import { type PoolMakerDeps, poolMaker } from "./make-pool.ts";
import { createMeter, type Meter } from "./meter.ts";
import { noteWaiting } from "./note-waiting.ts";
import { createOffers } from "./offers.ts";
import { lookahead, STUCK_MS, stuckIn, takesNow } from "./pace.ts";
import type { Pool } from "./pool.ts";
import { realDepth } from "./real-depth.ts";

export interface IntakeDeps extends ClaimDeps, PoolMakerDeps {
  state: Pick<StateStore, "invocations" | "hints">;
  queue: Queue;
  registry: Pick<Registry, "current" | "version">;
  leases: Leases;
  clock: Clock;
  log: Log;
  createAttempt(claimed: Claimed, hooks: AttemptHooks): LiveAttempt;
}

export interface Intake {
  readonly key: FunctionKey;
  readonly meter: Meter;
  /** What another container lacked when it was last asked for. */
  missing(): string | undefined;
  /** There may be work. */
  wake(): void;
  /** A call that is not in the queue yet; nothing is sent for it unless it has a slot here. */
  offer(offer: Offer): void;
  /** Slots may have become free. */
  pump(): void;
  /** There may be room for another container. */
  rescale(): void;
  /** Once a second: scales, trims, closes what is cold. */
  tick(): Promise<void>;
  /** The pool of a version, made when there is none; `undefined` when the version, function or variant is unknown. */
  pool(version: string, variant?: string): Promise<Pool | undefined>;
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

export function createIntake(deps: IntakeDeps, key: FunctionKey): Intake {
  const { state, queue, leases, clock, log } = deps;
  const { app } = splitFunctionKey(key);
  const pools = new Map<string, Pool>();
  const homes = new Map<LiveAttempt, Pool>();
  const entries = createEntries(deps, key, deps.identity.runner);
  const since = new Map<LiveAttempt, number>();
  const depth = realDepth(queue, key);
  const offers = createOffers();
  const claims = createClaims(deps, key);
  let wakes = 0;
  let dry = true;
  let streak = 0;
  let inFlight = 0;
  let stopped = false;
  let lastVersion: string | undefined;
  const meter = createMeter();
  let missing: string | undefined;
  let reason: string | undefined;
  let scaledAt = Number.NEGATIVE_INFINITY;
  let scaling = false;
  let listed = true;
  let workAt = clock.monotonic();

  const maker = poolMaker(deps, key, pools, pump, meter);

  /** `entry`: what is to be acknowledged at the end; none of a call that was claimed before it was queued. */
  function register(record: InvocationRecord, entry?: Attempt, mayHaveRun?: boolean): LiveAttempt {
    maker.learn(record.variant);
    const attempt: LiveAttempt = deps.createAttempt(
      { key, record, mayHaveRun, acknowledge: async () => entry && entries.acknowledge(entry) },
      {
        onInputs: claims.learn,
        onReleased() {
          const started = attempt.startedAt();
          if (started !== undefined) meter.ran(clock.monotonic() - started);
          homes.get(attempt)?.release(attempt);
        },
        onEnded() {
          leases.remove(attempt);
          homes.get(attempt)?.forget(attempt);
          homes.delete(attempt);
          since.delete(attempt);
          depth.ended(record);
        },
      },
    );
    leases.add(attempt);
    since.set(attempt, clock.monotonic());
    return attempt;
  }

  async function dispatch(record: InvocationRecord, entry?: Attempt): Promise<void> {
    const attempt = register(record, entry);
    try {
      const home = pools.get(record.version) ?? (await maker.get(record.version));
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
    const entry = await entries.next();
    if (!entry) {
      streak = 0;
      if (seen === wakes) dry = true;
      return;
    }
    streak++;
    depth.tookEntry();
    workAt = clock.monotonic();
    offers.forget(entry.id);
    const record = await claims.claim(entry);
    if (record && !leases.find(record)) await dispatch(record, entry);
    else await entries.acknowledge(entry);
  }

  async function takeOffer(offer: Offer): Promise<void> {
    workAt = clock.monotonic();
    const record = await claims.claim(offer);
    if (!record || leases.find(record)) return;
    depth.tookOffer(record);
    await dispatch(record);
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
    const ahead = lookahead(meter.runMs(), busy);
    return { room: open + ahead - inFlight, ahead };
  };

  function pump(): void {
    if (stopped) return;
    const { room, ahead } = permits();
    if (dry) {
      // Only what is surely next: entries of the queue are older.
      const roomOf = (version: string): number => (pools.get(version)?.freeSlots() ?? 0) + ahead - inFlight;
      for (const offer of offers.take(room, roomOf, clock.monotonic())) follow(takeOffer(offer));
      return;
    }
    const count = takesNow(room, streak, inFlight, ahead);
    if (count === 0 && inFlight === 0) void scaleSoon();
    for (let i = 0; i < count; i++) follow(take());
    if (room <= count && streak > 0) void scaleSoon();
  }

  function follow(taking: Promise<void>): void {
    inFlight++;
    taking.then(
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

  async function scaleSoon(everyMs = SCALE_EVERY_MS): Promise<void> {
    if (scaling || stopped || clock.monotonic() - scaledAt < everyMs) return;
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
    const left = dry ? undefined : await depth.read();
    const target = await expected();
    const queued = left ? left() + claims.slicesLeft() : 0;
    if (queued > 0 && !target && pools.size === 0) lastVersion = "?";
    for (const one of pools.values()) {
      const refused = await one.scale(one === target ? queued : 0, meter.runMs());
      if (one === target) missing = refused;
      reason = noteWaiting(deps, one.waiting(), refused, reason);
      one.trim(one === target ? queued : 0);
      if (one.isEmpty() && (one !== target || isQuiet())) pools.delete(one.version);
    }
  }

  /** A class may be called with ever new values: what nobody calls any more is let go. */
  const isQuiet = (): boolean => dry && inFlight === 0 && entries.held() === 0 && clock.monotonic() - workAt > COLD_MS;

  /** The version that entries still in the queue most likely ask for. */
  async function expected(): Promise<Pool | undefined> {
    const last = lastVersion === undefined ? undefined : pools.get(lastVersion);
    if (last) return last;
    const current = await deps.registry.current(app);
    return current && maker.get(current.version);
  }

  /** What was taken ahead of its slot, and then found all slots kept busy, goes to whoever has one. */
  function returnStuck(): void {
    for (const attempt of stuckIn(pools.values(), since, clock.monotonic())) {
      meter.stuck(STUCK_MS);
      attempt.giveBack("all slots of its node are busy");
    }
  }

  async function lookIdle(): Promise<void> {
    if (!dry || inFlight > 0 || !listed) return;
    listed = false;
    await state.hints.idle(key, () => queue.isEmpty(key));
  }

  return {
    key,
    meter,
    missing: () => missing,
    wake() {
      wakes++;
      dry = false;
      listed = true;
      pump();
    },
    offer(offer) {
      if (stopped || !pools.has(offer.version)) return;
      offers.add(offer, clock.monotonic());
      pump();
    },
    pump,
    rescale: () => void scaleSoon(0),
    async tick() {
      if (stopped) return;
      returnStuck();
      await scaleSoon();
      await lookIdle();
    },
    pool(version, variant) {
      maker.learn(variant);
      return maker.get(version);
    },
    pools: () => [...pools.values()],
    async track(record) {
      const entry = { id: record.id, generation: record.generation };
      entries.hold(entry);
      const attempt = register(record, entry, true);
      const home = await maker.get(record.version);
      if (home) homes.set(attempt, home);
      return attempt;
    },
    renew: entries.renew,
    stop() {
      stopped = true;
      for (const one of pools.values())
        for (const attempt of [...one.waiting()]) attempt.giveBack("its node is being stopped");
    },
    isCold: () => isQuiet() && pools.size === 0,
    async close() {
      stopped = true;
      await entries.close();
    },
  };
}
