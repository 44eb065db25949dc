/** Makes the pools of one function, or of a class with given values: it has to learn those values before the first. */
import { type FunctionKey, splitFunctionKey } from "../core/invocation.ts";
import type { Registry } from "../core/registry.ts";
import type { VersionManifest } from "../core/spec.ts";
import { untilDone } from "../core/until-done.ts";
import { parseVariant, type ServedFunction, servedFunction, specName, type Variant } from "../core/variant.ts";
import type { Meter } from "./meter.ts";
import type { Pool } from "./pool.ts";

export interface PoolMaker {
  /** The class' values and options: told by records, and by labels of containers. Absent for its defaults. */
  learn(variant: string | undefined): void;
  /** The pool of a version, made when there is none; `undefined` when the version, function or variant is unknown. */
  get(version: string): Promise<Pool | undefined>;
}

export interface PoolMakerDeps {
  registry: Pick<Registry, "version">;
  createPool(manifest: VersionManifest, fn: ServedFunction, onChange: () => void, meter: Meter): Pool;
}

export function poolMaker(
  deps: PoolMakerDeps,
  key: FunctionKey,
  pools: Map<string, Pool>,
  onChange: () => void,
  meter: Meter,
): PoolMaker {
  const { app, fn: name } = splitFunctionKey(key);
  let variant: Variant | undefined;

  async function make(version: string): Promise<Pool | undefined> {
    const manifest = await untilDone(() => deps.registry.version(app, version));
    const spec = manifest?.functions.find((one) => one.name === specName(name));
    const served = spec && servedFunction(spec, name, variant);
    if (!manifest || !served) return undefined;
    const made = pools.get(version) ?? deps.createPool(manifest, served, onChange, meter);
    pools.set(version, made);
    return made;
  }

  return {
    learn(text) {
      if (text !== undefined) variant ??= parseVariant(text);
    },
    get: async (version) => pools.get(version) ?? make(version),
  };
}
