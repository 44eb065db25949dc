/** The runner of one node, put together from its parts; main.ts chooses the implementations. */
import type { Clock } from "../core/clock.ts";
import type { ContainerEngine } from "../core/engine.ts";
import type { FunctionKey } from "../core/invocation.ts";
import type { Log } from "../core/log.ts";
import type { ObjectStore } from "../core/object-store.ts";
import type { Queue } from "../core/queue.ts";
import type { Registry } from "../core/registry.ts";
import type { NodeFacts, QueuedEntry, StateStore } from "../core/state-store.ts";
import { createAttempt } from "./attempt.ts";
import { createBundles } from "./bundles.ts";
import { createClaimLoop } from "./claim-loop.ts";
import { createContainer } from "./container.ts";
import type { Container } from "./container-contract.ts";
import type { NodeIdentity } from "./container-plan.ts";
import { runnerDirs } from "./dirs.ts";
import { drain } from "./drain.ts";
import { createIntake, type Intake } from "./intake.ts";
import { createLeases } from "./leases.ts";
import { createLogShipper } from "./log-shipper.ts";
import { keepMinimum } from "./minimum.ts";
import { noteRunning } from "./note-running.ts";
import { createOperations } from "./operations.ts";
import { createPool } from "./pool.ts";
import type { Reach } from "./reach.ts";
import { createReconcile } from "./reconcile.ts";
import { createRoom } from "./room.ts";
import { createSharedDeaths } from "./shared-deaths.ts";

export interface RunnerOptions {
  state: StateStore;
  queue: Queue;
  objects: ObjectStore;
  registry: Registry;
  engine: ContainerEngine;
  clock: Clock;
  log: Log;
  identity: NodeIdentity;
  facts: NodeFacts;
  dataDir: string;
  sdkDir: string;
  leaseMs: number;
  bootTimeoutMs: number;
  cancelGraceMs: number;
  maxSourceBytes: number;
  /** Whether this node can reach Redis' machine at all. */
  probe(): Promise<Reach>;
  /** Containers that may boot at the same time. */
  maxBoots: number;
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
  const logs = createLogShipper({ logs: state.logs, clock, log });
  const intakes = new Map<FunctionKey, Intake>();
  const sharedDeaths = createSharedDeaths();
  const bundles = createBundles({ objects, dir: dirs.bundles, maxBytes: options.maxSourceBytes });
  const operations = createOperations({ state, objects, log, runner: identity.runner, leaseMs });
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
  const room = createRoom({
    clock,
    capacity: state.capacity,
    node: identity.node,
    log,
    maxBoots: options.maxBoots,
    containers: allContainers,
    onFree: pumpAll,
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
    objects,
    offer,
    clock,
    log,
    spoolDir: dirs.spool,
    cancelGraceMs: options.cancelGraceMs,
  };
  const containerDeps = { engine, bundles, dirs, sdkDir: options.sdkDir, identity, clock, log, logs, operations };
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
          createAttempt: (claimed, hooks) => createAttempt(attemptDeps, claimed, hooks),
          createPool: (manifest, fn, onChange) =>
            createPool(
              {
                clock,
                log,
                room,
                sharedDeaths,
                createContainer: (plan, events) =>
                  createContainer({ ...containerDeps, bootTimeoutMs: options.bootTimeoutMs }, plan, events),
                adopt: reconcile.adopt,
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

  const minimum = keepMinimum({ state, registry, identity, log, intakeOf, intakes });
  const loop = createClaimLoop({ state, registry, identity, leases, clock, log, intakeOf, intakes, minimum });
  const notes = noteRunning({ invocations: state.invocations, leases, clock, log });

  return {
    async start() {
      await reconcile.run();
      await loop.start();
      notes.start();
    },
    async drain(graceMs) {
      loop.stop();
      notes.stop();
      await drain({ intakes, leases, clock, containers: allContainers }, graceMs);
      leases.close();
      await logs.flush();
    },
  };
}
