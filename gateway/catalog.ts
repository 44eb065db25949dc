/** Finds what a call addresses: the app's manifest, the function's spec and the Python of its image. */
import { fail } from "../core/errors.ts";
import { type FunctionKey, functionKey } from "../core/invocation.ts";
import type { Registry } from "../core/registry.ts";
import { FUNCTION_NAME, type FunctionSpec, NAME, type VersionManifest } from "../core/spec.ts";

export interface Target {
  key: FunctionKey;
  app: string;
  spec: FunctionSpec;
  version: string;
  /** Minor version of its image's Python. */
  python: string;
}

export interface Catalog {
  /** Throws `invalid_name`, `app_not_found` or `version_not_found`. */
  manifest(app: string, version?: string): Promise<VersionManifest>;
  /** Also throws `function_not_found`. */
  target(app: string, fn: string, version?: string): Promise<Target>;
}

const VERSION = /^(?:[1-9]\d{0,9}|run_[0-9a-z]{26})$/;

export function createCatalog(registry: Registry): Catalog {
  /** Manifests never change, so what was prepared for one lives as long as the registry keeps it. */
  const prepared = new WeakMap<VersionManifest, Map<string, Target>>();

  async function manifest(app: string, version?: string): Promise<VersionManifest> {
    checkAppName(app);
    if (version === undefined || version === "") {
      const current = await registry.current(app);
      return current ?? fail("app_not_found", `no app '${app}' is deployed`, { app });
    }
    const pinned = VERSION.test(version) ? await registry.version(app, version) : undefined;
    if (pinned) return pinned;
    if (!version.startsWith("run_") && !(await registry.current(app)))
      fail("app_not_found", `no app '${app}' is deployed`, { app });
    return fail("version_not_found", `app '${app}' has no version '${version.slice(0, 64)}'`, { app });
  }

  return {
    manifest,
    async target(app, fn, version) {
      checkFunctionName(fn);
      const found = await manifest(app, version);
      const targets = prepared.get(found) ?? targetsOf(found);
      prepared.set(found, targets);
      const target = targets.get(fn);
      if (target) return target;
      return fail("function_not_found", `app '${app}' version ${found.version} has no function '${fn}'`, {
        app,
        function: fn,
        functions: [...targets.keys()].slice(0, 100),
      });
    },
  };
}

const targetsOf = (manifest: VersionManifest): Map<string, Target> =>
  new Map(
    manifest.functions.map((spec) => [
      spec.name,
      {
        key: functionKey(manifest.app, spec.name),
        app: manifest.app,
        spec,
        version: manifest.version,
        python: manifest.images[spec.image]?.spec.python ?? "",
      },
    ]),
  );

const FORM = "letters, digits, '-' and '_', starting with a letter or digit, 64 at most";

export function checkAppName(app: string): void {
  if (!NAME.test(app)) fail("invalid_name", `${JSON.stringify(app.slice(0, 80))} is no app name: ${FORM}`);
}

export function checkFunctionName(fn: string): void {
  if (!FUNCTION_NAME.test(fn)) fail("invalid_name", `${JSON.stringify(fn.slice(0, 80))} is no function name`);
}
