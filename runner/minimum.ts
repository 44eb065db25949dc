/** Keeps `min_containers` of the current versions, counted over all nodes. */
import { gangOf } from "../core/gang.ts";
import { type FunctionKey, functionKey } from "../core/invocation.ts";
import type { Log } from "../core/log.ts";
import type { Registry } from "../core/registry.ts";
import type { StateStore } from "../core/state-store.ts";
import { servedFunction } from "../core/variant.ts";
import type { NodeIdentity } from "./container-plan.ts";
import type { Intake } from "./intake.ts";

export interface Minimum {
  /** Of all apps, or of the one that changed. */
  look(app?: string): Promise<void>;
}

export interface MinimumDeps {
  state: Pick<StateStore, "capacity">;
  registry: Pick<Registry, "current" | "apps">;
  identity: NodeIdentity;
  log: Log;
  intakeOf(key: FunctionKey): Intake;
  intakes: Map<FunctionKey, Intake>;
}

/** This node's share: what the other nodes do not hold already. */
export const shareOf = (min: number, elsewhere: number): number => Math.max(0, min - elsewhere);

export function keepMinimum({ state, registry, identity, intakeOf, intakes }: MinimumDeps): Minimum {
  async function heldElsewhere(): Promise<Map<string, number>> {
    const counts = new Map<string, number>();
    const others = (await state.capacity.nodes()).filter((node) => node.id !== identity.node);
    for (const bookings of await Promise.all(others.map(({ id }) => state.capacity.bookings(id))))
      for (const { key } of bookings) counts.set(key, (counts.get(key) ?? 0) + 1);
    return counts;
  }

  return {
    async look(only) {
      let elsewhere: Map<string, number> | undefined;
      for (const app of only === undefined ? await registry.apps() : [only]) {
        const current = await registry.current(app);
        for (const fn of current?.functions ?? []) {
          const key = functionKey(app, fn.name);
          // Values nobody gave cannot be served ahead of a call.
          if (!servedFunction(fn, fn.name)) continue;
          if (fn.min_containers === 0 && !intakes.has(key)) continue;
          elsewhere ??= await heldElsewhere();
          const share = shareOf(fn.min_containers, Math.floor((elsewhere.get(key) ?? 0) / gangOf(fn)));
          const intake = intakes.get(key) ?? (share > 0 ? intakeOf(key) : undefined);
          for (const pool of intake?.pools() ?? []) if (pool.version !== current!.version) pool.keepAtLeast(0);
          if (share > 0) {
            (await intake!.pool(current!.version))?.keepAtLeast(share);
            await intake!.tick();
          } else (intake?.pools() ?? []).find((one) => one.version === current!.version)?.keepAtLeast(0);
        }
      }
    },
  };
}
