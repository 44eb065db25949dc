/** The containers of one version of a function on this node, and the inputs that wait for a slot in them. */
import type { Clock } from "../core/clock.ts";
import type { ErrorBody } from "../core/errors.ts";
import { gangOf, isGang } from "../core/gang.ts";
import { newId } from "../core/ids.ts";
import type { FunctionKey } from "../core/invocation.ts";
import type { Log } from "../core/log.ts";
import { slotsOf, type VersionManifest } from "../core/spec.ts";
import type { Attempt } from "../core/state-store.ts";
import type { ServedFunction } from "../core/variant.ts";
import type { LiveAttempt } from "./attempt.ts";
import type { Container, ContainerEvents, StartFailure } from "./container-contract.ts";
import { type ContainerPlan, keyOf } from "./container-plan.ts";
import type { Images } from "./images.ts";
import type { Meter } from "./meter.ts";
import type { Room } from "./room.ts";
import { idleToStop, type Load, type ScalingPolicy, startsNow } from "./scaling.ts";
import type { SharedDeaths } from "./shared-deaths.ts";

/** After this many deaths beside others an input gets a container to itself. */
const ALONE_AFTER = 2;
const FIRST_BACKOFF_MS = 1_000;
const MAX_BACKOFF_MS = 60_000;

export interface PoolDeps {
  clock: Clock;
  log: Log;
  room: Room;
  images: Pick<Images, "lacking" | "lost">;
  sharedDeaths: SharedDeaths;
  createContainer(plan: ContainerPlan, events: ContainerEvents): Container;
  /** An attempt that a container reported, from before a restart. */
  adopt(container: Container, attempt: Attempt): LiveAttempt | undefined;
  meter: Pick<Meter, "booted">;
  /** Containers whose place is lent. */
  lent(): ReadonlySet<string>;
  /** A slot became free, or the number of containers changed. */
  onChange(): void;
}

export interface Pool {
  readonly key: FunctionKey;
  readonly version: string;
  submit(attempt: LiveAttempt): void;
  release(attempt: LiveAttempt): void;
  forget(attempt: LiveAttempt): void;
  /** Slots an input taken now could have, those of starting containers included. */
  openSlots(): number;
  /** Slots of warm containers that no input waits for. */
  freeSlots(): number;
  load(queued: number): Load;
  /** Starts what demand asks for. Answers what is missing when the node has no room for it, or not its image. */
  scale(queued: number, runMs?: number): Promise<string | undefined>;
  /** Idle ones beyond demand and window go. */
  trim(queued: number): void;
  /** Containers that every node's total must not fall below; set by whoever sees all nodes. */
  keepAtLeast(min: number): void;
  /** No calls are pinned to it by default any more: idle containers go at once. */
  retire(yes: boolean): void;
  adoptContainer(id: string, gpus: string[]): Container;
  containers(): Container[];
  waiting(): readonly LiveAttempt[];
  /** Neither containers nor inputs, and none to be kept. */
  isEmpty(): boolean;
}

export function createPool(deps: PoolDeps, manifest: VersionManifest, fn: ServedFunction): Pool {
  const { clock, log, room } = deps;
  const key = keyOf({ fn, manifest });
  const image = manifest.images[fn.image]!.ref;
  const wanted = fn.target_inputs ?? slotsOf(fn);
  const containers = new Map<string, Container>();
  const homes = new Map<LiveAttempt, Container>();
  /** Of containers that were started here and have not been ready yet. */
  const startedAt = new Map<string, number>();
  let waiting: LiveAttempt[] = [];
  let min = 0;
  let retired = false;
  let failures = 0;
  let startAfter = 0;
  let starting = 0;

  const policy = (): ScalingPolicy => ({
    slots: wanted,
    min: retired ? 0 : min,
    max: fn.max_containers,
    buffer: retired ? 0 : fn.buffer_containers,
    scaledownMs: retired ? 0 : fn.scaledown_window * 1000,
  });
  const living = (): Container[] =>
    [...containers.values()].filter((one) => one.phase() !== "draining" && one.phase() !== "ended");
  const isBooting = (one: Container): boolean => one.phase() === "booked" || one.phase() === "starting";

  function load(queued: number): Load {
    const alive = living();
    return {
      containers: alive.length + starting,
      starting: alive.filter(isBooting).length + starting,
      busySlots: alive.reduce((sum, one) => sum + one.busy(), 0),
      waiting: waiting.length,
      queued,
    };
  }

  /** For decisions only: it looks at all attempts. */
  function loadWithLent(queued: number): Load {
    const lent = deps.lent();
    return { ...load(queued), lent: living().filter(({ id }) => lent.has(id)).length };
  }

  const wantsAlone = ({ id }: LiveAttempt): boolean => deps.sharedDeaths.of(id) >= ALONE_AFTER;

  function place(attempt: LiveAttempt): boolean {
    const alone = wantsAlone(attempt);
    let home: Container | undefined;
    for (const one of containers.values()) {
      if (one.freeSlots() === 0 || (alone && one.busy() > 0)) continue;
      home ??= one;
      if (one.busy() >= wanted) continue;
      home = one;
      break;
    }
    if (!home) return false;
    homes.set(attempt, home);
    home.begin(attempt, alone);
    return true;
  }

  function placeWaiting(): void {
    if (waiting.length > 0) waiting = waiting.filter((attempt) => attempt.state() === "waiting" && !place(attempt));
  }

  function failWaiting(error: ErrorBody): void {
    failures++;
    startAfter = clock.monotonic() + Math.min(FIRST_BACKOFF_MS * 2 ** (failures - 1), MAX_BACKOFF_MS);
    // One container's share: a platform fault is charged to as many as the container would have taken.
    const concerned = error.fault === "user" ? waiting : waiting.slice(0, slotsOf(fn));
    waiting = waiting.filter((attempt) => !concerned.includes(attempt));
    for (const attempt of concerned) attempt.fault(error);
  }

  const events: ContainerEvents = {
    onReady(container, running) {
      failures = 0;
      const since = startedAt.get(container.id);
      if (since !== undefined) deps.meter.booted(clock.monotonic() - since);
      startedAt.delete(container.id);
      const isHere = (attempt: Attempt): boolean => [...homes.keys()].some((one) => same(one, attempt));
      for (const attempt of running)
        if (!isHere(attempt) && !stray(container, attempt))
          container.kill("it runs an attempt that is another's by now");
      placeWaiting();
      deps.onChange();
    },
    onFree() {
      placeWaiting();
      deps.onChange();
    },
    onStray: stray,
    onCrash(_container, attempts) {
      for (const { id } of attempts) deps.sharedDeaths.note(id);
    },
    onEnded(container, failure?: StartFailure) {
      containers.delete(container.id);
      startedAt.delete(container.id);
      if (failure?.error.code === "image_missing") deps.images.lost(image);
      if (failure) failWaiting(failure.error);
      room.release(container);
      deps.onChange();
    },
  };

  function stray(container: Container, attempt: Attempt): LiveAttempt | undefined {
    const adopted = deps.adopt(container, attempt);
    if (!adopted) return undefined;
    homes.set(adopted, container);
    container.adoptAttempt(adopted);
    return adopted;
  }

  function add(plan: ContainerPlan): Container {
    const container = deps.createContainer(plan, events);
    containers.set(plan.id, container);
    return container;
  }

  async function startOne(): Promise<string | undefined> {
    starting++;
    try {
      const ids = Array.from({ length: gangOf(fn) }, () => newId("con"));
      const booked = await room.book(ids, fn, manifest);
      if ("refused" in booked) return booked.refused;
      const [first] = booked.places;
      const plan = isGang(fn)
        ? { id: newId("gng"), fn, manifest, gpus: booked.places.flatMap(({ gpus }) => gpus), members: booked.places }
        : { id: first!.id, gpus: first!.gpus, fn, manifest };
      log.info({ container: plan.id, key, version: manifest.version }, "starting a container");
      startedAt.set(plan.id, clock.monotonic());
      add(plan).start();
      return undefined;
    } finally {
      starting--;
    }
  }

  function trim(queued: number): void {
    const idle = living().filter((one) => one.phase() === "ready" && one.busy() === 0);
    const ages = idle.map((one) => ({ id: one.id, since: one.idleSince() }));
    for (const id of idleToStop(ages, loadWithLent(queued), policy(), clock.monotonic())) containers.get(id)!.drain();
  }

  return {
    key,
    version: manifest.version,
    load,
    submit(attempt) {
      if (!place(attempt)) waiting.push(attempt);
    },
    release(attempt) {
      const home = homes.get(attempt);
      if (home) home.release(attempt);
      else waiting = waiting.filter((one) => one !== attempt);
    },
    forget(attempt) {
      homes.get(attempt)?.forget(attempt);
      homes.delete(attempt);
    },
    openSlots() {
      let open = -waiting.length;
      for (const one of containers.values()) open += isBooting(one) ? one.slots : one.freeSlots();
      return open;
    },

    freeSlots() {
      let free = -waiting.length;
      for (const one of containers.values()) free += one.freeSlots();
      return free;
    },

    async scale(queued, runMs) {
      if (failures > 0 && clock.monotonic() < startAfter) return "the last container did not start; trying again soon";
      const count = startsNow({ ...loadWithLent(queued), runMs }, policy(), room.bootRoom());
      const lacking = count > 0 ? await deps.images.lacking(image) : undefined;
      if (lacking !== undefined) {
        // Another node may have it.
        if (living().length === 0) for (const one of [...waiting]) one.giveBack("its image is not on its node");
        return lacking;
      }
      const refused = (await Promise.all(Array.from({ length: count }, startOne))).find((one) => one !== undefined);
      if (count > 0) deps.onChange();
      return refused;
    },

    trim,

    keepAtLeast(count) {
      min = count;
    },
    retire(yes) {
      retired = yes;
      if (yes) trim(0);
    },
    adoptContainer(id, gpus) {
      const container = add({ id, fn, manifest, gpus });
      container.adopt();
      return container;
    },
    containers: () => [...containers.values()],
    waiting: () => waiting,
    isEmpty: () => containers.size === 0 && waiting.length === 0 && starting === 0 && min === 0,
  };
}

const same = (a: Attempt, b: Attempt): boolean => a.id === b.id && a.generation === b.generation;
