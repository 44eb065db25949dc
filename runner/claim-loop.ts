/** Wakes the intakes: on hints, at the start, and once a second for hints that were lost. */
import type { Clock } from "../core/clock.ts";
import type { FunctionKey } from "../core/invocation.ts";
import type { Log } from "../core/log.ts";
import type { Registry } from "../core/registry.ts";
import type { StateStore } from "../core/state-store.ts";
import type { NodeIdentity } from "./container-plan.ts";
import type { Intake } from "./intake.ts";
import type { Leases } from "./leases.ts";
import type { Minimum } from "./minimum.ts";

export interface ClaimLoopDeps {
  state: Pick<StateStore, "hints">;
  registry: Pick<Registry, "current" | "version">;
  identity: NodeIdentity;
  leases: Leases;
  clock: Clock;
  log: Log;
  intakeOf(key: FunctionKey): Intake;
  intakes: Map<FunctionKey, Intake>;
  minimum: Minimum;
}

export interface ClaimLoop {
  start(): Promise<void>;
  stop(): void;
}

const TICK_MS = 1_000;
const MINIMUM_EVERY = 5;

export function createClaimLoop(deps: ClaimLoopDeps): ClaimLoop {
  const { state, registry, identity, leases, clock, log, intakeOf, intakes, minimum } = deps;
  const undo: (() => void)[] = [];
  let stopped = false;
  let ticks = 0;

  /** Versions that calls no longer go to by themselves give their idle containers back at once. */
  async function appChanged(app: string): Promise<void> {
    const current = (await registry.current(app))?.version;
    for (const intake of intakes.values()) {
      if (!intake.key.startsWith(`${app}/`)) continue;
      for (const pool of intake.pools()) {
        const ephemeral = pool.version.startsWith("run_");
        const alive = ephemeral ? (await registry.version(app, pool.version)) !== undefined : pool.version === current;
        pool.retire(!alive);
      }
    }
    await minimum.look(app);
  }

  async function tick(): Promise<void> {
    for (const key of await state.hints.functionsWithWork()) intakeOf(key).wake();
    for (const intake of [...intakes.values()]) {
      await intake.tick();
      if (!intake.isCold()) continue;
      intakes.delete(intake.key);
      await intake.close();
    }
    if (ticks++ % MINIMUM_EVERY === 0) await minimum.look();
  }

  function schedule(): void {
    const cancel = clock.after(TICK_MS, () => {
      tick()
        .catch((err: unknown) => log.warn({ err }, "a look for work failed"))
        .finally(() => {
          if (!stopped) schedule();
        });
    });
    undo[0] = cancel;
  }

  return {
    async start() {
      schedule();
      undo.push(
        // An offer concerns nobody who does not serve the function; once it is in the queue, everybody hears of it.
        await state.hints.onWork((key, offer) => (offer ? intakes.get(key)?.offer(offer) : intakeOf(key).wake())),
      );
      undo.push(await state.hints.onCancel(identity.runner, leases.cancel));
      undo.push(
        await state.hints.onAppChanged((app) => {
          appChanged(app).catch((err: unknown) => log.warn({ err, app }, "a change of an app was not followed"));
        }),
      );
      await tick().catch((err: unknown) => log.warn({ err }, "the first look for work failed"));
    },
    stop() {
      stopped = true;
      for (const one of undo) one();
      for (const intake of intakes.values()) intake.stop();
    },
  };
}
