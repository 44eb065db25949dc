/** The runner of one node, put together from its parts; main.ts chooses the implementations. */

import type { NodeFacts } from "../core/capacity-ledger.ts";
import type { Catalog } from "../core/catalog.ts";
import type { Clock } from "../core/clock.ts";
import { keepCollectingImages } from "../core/collect-images.ts";
import type { ContainerEngine } from "../core/engine.ts";
import type { ImageShelf, ImageStore } from "../core/image-store.ts";
import type { FunctionKey } from "../core/invocation.ts";
import type { Log } from "../core/log.ts";
import type { ObjectStore } from "../core/object-store.ts";
import type { Outbox } from "../core/outbox.ts";
import type { Outcomes } from "../core/outcomes.ts";
import type { Queue } from "../core/queue.ts";
import type { Registry } from "../core/registry.ts";
import type { QueuedEntry, StateStore } from "../core/state-store.ts";
import { type AttemptHooks, createAttempt, type LiveAttempt } from "./attempt.ts";
import { createBundles } from "./bundles.ts";
import { createCalls } from "./calls.ts";
import { createClaimLoop } from "./claim-loop.ts";
import { createContainer } from "./container.ts";
import type { Container } from "./container-contract.ts";
import { type ContainerPlan, isGangPlan, type NodeIdentity } from "./container-plan.ts";
import { watchForDeadlocks } from "./deadlock-watch.ts";
import { runnerDirs } from "./dirs.ts";
import { drain } from "./drain.ts";
import { followEarmark } from "./earmark.ts";
import { createFar } from "./far.ts";
import { createGang } from "./gang.ts";
import { createImages } from "./images.ts";
import { createIntake, type Intake } from "./intake.ts";
import { createLeases } from "./leases.ts";
import { createLending } from "./lending.ts";
import type { LineLimit } from "./line-limit.ts";
import { createLogShipper } from "./log-shipper.ts";
import { keepMinimum } from "./minimum.ts";
import { noteRunning } from "./note-running.ts";
import { createOperations } from "./operations.ts";
import { createPages } from "./pages.ts";
import { createPool } from "./pool.ts";
import type { Reach } from "./reach.ts";
import { createReconcile } from "./reconcile.ts";
import { createRoom } from "./room.ts";
import { createSharedDeaths } from "./shared-deaths.ts";
import { createSliceAttempt } from "./slice-attempt.ts";
import { tellLoads } from "./tell-loads.ts";
import { createTurns } from "./turns.ts";
import { createWaits } from "./waits.ts";

export interface RunnerOptions {
  state: StateStore;
  queue: Queue;
  objects: ObjectStore;
  registry: Registry;
  engine: ContainerEngine;
  /** Absent where images do not travel between nodes. */
  images?: ImageStore;
  /** What of this node's images is to be removed once nobody needs it; absent: none is. */
  shelf?: ImageShelf;
  /** 0: for good. */
  imageRetentionDays?: number;
  clock: Clock;
  log: Log;
  identity: NodeIdentity;
  facts: NodeFacts;
  dataDir: string;
  sdkDir: string;
  leaseMs: number;
  storagePatienceMs: number;
  bucket: string;
  bootTimeoutMs: number;
  cancelGraceMs: number;
  maxSourceBytes: number;
  /** For calls that functions make. */
  outbox: Outbox;
  outcomes: Outcomes;
  catalog: Catalog;
  /** Of a call's arguments. */
  bodyBytes: number;
  /** Whether this node can reach Redis' machine at all. */
  probe(): Promise<Reach>;
  /** Containers that may boot at the same time. */
  maxBoots: number;
  /** How much one container may print. */
  logLimit: LineLimit;
}

export interface Runner {
  /** Adopts or clears what an earlier process of this node left, then takes work. */
  start(): Promise<void>;
  /** Takes nothing more, lets what runs end for `graceMs`, gives the rest back, removes all containers. */
  drain(graceMs: number): Promise<void>;
}

export function createRunner(options: RunnerOptions): Runner {
  const { state, queue, objects, registry, engine, clock, log, identity, leaseMs } = options;
  const dirs = runnerDirs(options.dataDir);
  const logs = createLogShipper({ logs: state.logs, clock, log, limit: options.logLimit });
  const intakes = new Map<FunctionKey, Intake>();
  const sharedDeaths = createSharedDeaths();
  const bundles = createBundles({ objects, dir: dirs.bundles, maxBytes: options.maxSourceBytes });
  const images = createImages({
    ...{ state, objects, images: options.images, log },
    onFetched: () => {
      for (const one of intakes.values()) one.rescale();
    },
  });
  const pages = createPages({ maps: state.maps, objects });
  const { outbox, outcomes, catalog, bodyBytes } = options;
  const waits = createWaits(clock);
  const calls = createCalls({ state, objects, outbox, outcomes, catalog, waits, clock, log, bodyBytes });
  const operations = createOperations({
    ...{ state, objects, log, clock, runner: identity.runner, leaseMs, calls },
    patienceMs: options.storagePatienceMs,
    bucket: options.bucket,
  });
  const allContainers = (): Container[] =>
    [...intakes.values()].flatMap((one) => one.pools()).flatMap((one) => one.containers());
  const pumpAll = (): void => {
    for (const one of intakes.values()) one.pump();
  };

  const leases = createLeases({
    invocations: state.invocations,
    runner: identity.runner,
    leaseMs,
    clock,
    log,
    probe: options.probe,
    onRenewed: () => {
      for (const one of intakes.values()) one.renew();
    },
    onFence: () => {
      for (const one of allContainers()) one.kill("the node was cut off from Redis for a whole lease");
    },
  });
  const attempts = (): Iterable<LiveAttempt> => leases.all();
  const lending = createLending({ capacity: state.capacity, node: identity.node, log, waits, attempts });
  const deadlocks = watchForDeadlocks({ state, registry, lending, waits, attempts, clock, log });
  const turns = createTurns({
    clock,
    log,
    containers: allContainers,
    lent: lending.waiting,
    askAgain: (key) => intakes.get(key)?.rescale(),
  });
  const { sdkDir, bootTimeoutMs, probe, storagePatienceMs: patienceMs } = options;
  const containerDeps = { engine, bundles, dirs, sdkDir, identity, clock, log, logs, operations, bootTimeoutMs };
  const far = createFar({
    ...{ ...containerDeps, state, registry, objects, images, leaseMs, patienceMs, probe },
    containers: allContainers,
  });
  const room = createRoom({
    clock,
    turns,
    lend: lending.lend,
    capacity: state.capacity,
    node: identity.node,
    log,
    maxBoots: options.maxBoots,
    containers: allContainers,
    onFree: pumpAll,
    makeFarRoom: far.room.make,
    silent: far.link.silent,
    lackingElsewhere: far.images.lacking,
  });

  async function offer(entry: QueuedEntry): Promise<void> {
    try {
      await queue.add(entry.key, entry);
      await state.invocations.enqueued(entry);
    } catch (err) {
      // The outbox has the entry: the sweeper adds it again.
      log.warn({ err, id: entry.id }, "an entry waits in the outbox");
    }
  }

  const attemptDeps = {
    invocations: state.invocations,
    chunks: state.chunks,
    objects,
    offer,
    clock,
    log,
    spoolDir: dirs.spool,
    cancelGraceMs: options.cancelGraceMs,
  };
  const gangDeps = { ...containerDeps, far, nodes: state.capacity.nodes };
  const reconcile = createReconcile({ state, engine, registry, identity, clock, log, dirs, leases, intakeOf });

  function intakeOf(key: FunctionKey): Intake {
    let intake = intakes.get(key);
    if (!intake) {
      intake = createIntake(
        {
          state,
          queue,
          registry,
          leases,
          identity,
          leaseMs,
          clock,
          log,
          offerEntry: offer,
          createAttempt(claimed, hooks) {
            const all: AttemptHooks = {
              ...hooks,
              onReleased() {
                operations.left(attempt);
                hooks.onReleased();
              },
              onEnded() {
                hooks.onEnded();
                operations.ended(attempt);
              },
            };
            const attempt: LiveAttempt = claimed.record.slice
              ? createSliceAttempt({ ...attemptDeps, maps: state.maps, pages }, claimed, all)
              : createAttempt(attemptDeps, claimed, all);
            return attempt;
          },
          createPool: (manifest, fn, onChange, meter) =>
            createPool(
              {
                clock,
                log,
                room,
                images: { lacking: images.lacking, lost: far.images.lost },
                sharedDeaths,
                createContainer: (plan, events) =>
                  isGangPlan(plan) ? createGang(gangDeps, plan, events) : createContainer(containerDeps, plan, events),
                adopt: reconcile.adopt,
                meter,
                lent: lending.waiting,
                onChange,
              },
              manifest,
              fn,
            ),
        },
        key,
      );
      intakes.set(key, intake);
    }
    return intake;
  }

  const earmarks = followEarmark({ capacity: state.capacity, facts: options.facts, turns, clock, log });
  const minimum = keepMinimum({ state, registry, identity, log, intakeOf, intakes });
  const loop = createClaimLoop({ state, registry, identity, leases, clock, log, intakeOf, intakes, minimum });
  const loads = tellLoads({ loads: state.loads, intakes, runner: identity.runner, clock, log });
  const notes = noteRunning({ invocations: state.invocations, leases, clock, log });

  const imageOf = ({ fn, manifest }: ContainerPlan): string => manifest.images[fn.image]!.ref;
  const { shelf, imageRetentionDays: retentionDays = 0 } = options;
  const stopCollecting =
    shelf &&
    keepCollectingImages({
      ...{ state, registry, shelf, retentionDays, clock, log },
      // Those of apps that were deleted, too, while their containers live.
      before: () => state.images.need([...new Set(allContainers().map(({ plan }) => imageOf(plan)))]),
    });

  return {
    async start() {
      await reconcile.run();
      await far.start();
      await loop.start();
      earmarks.start();
      notes.start();
      loads.start();
      deadlocks.start();
    },
    async drain(graceMs) {
      loop.stop();
      earmarks.stop();
      notes.stop();
      loads.stop();
      deadlocks.stop();
      images.close();
      await stopCollecting?.();
      await drain({ intakes, leases, clock, containers: allContainers, hosting: far.hosting }, graceMs);
      await far.link.stop();
      leases.close();
      await logs.flush();
    },
  };
}
