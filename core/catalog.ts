/** Finds what a call addresses: the app's manifest, the function's spec and the Python of its image. */
import { fail } from "./errors.ts";
import { type FunctionKey, functionKey } from "./invocation.ts";
import type { Registry } from "./registry.ts";
import { FUNCTION_NAME, type FunctionSpec, NAME, type VersionManifest } from "./spec.ts";

export interface Target {
  key: FunctionKey;
  app: string;
  /** As callers write it: `add`, `Model.predict`. */
  name: string;
  /** Named as its pool is; a method's is its class' with the method's own signature. */
  spec: FunctionSpec;
  method?: string;
  /** See NewInvocation. */
  variant?: string;
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
      return targets.get(fn) ?? notFound(fn, found, [...targets.keys()]);
    },
  };
}

const targetsOf = (manifest: VersionManifest): Map<string, Target> =>
  new Map(
    manifest.functions
      .flatMap((spec): Pick<Target, "name" | "spec" | "method">[] =>
        spec.class
          ? spec.class.methods.map(({ name, ...callable }) => ({
              name: `${spec.name}.${name}`,
              spec: { ...spec, ...callable },
              method: name,
            }))
          : [{ name: spec.name, spec }],
      )
      .map((called) => [
        called.name,
        {
          ...called,
          key: functionKey(manifest.app, called.spec.name),
          app: manifest.app,
          version: manifest.version,
          python: manifest.images[called.spec.image]?.spec.python ?? "",
        },
      ]),
  );

/** A class itself is not called. */
function notFound(fn: string, { app, version, functions }: VersionManifest, known: string[]): never {
  const isClass = functions.some((one) => one.class && one.name === fn);
  const methods = known.filter((name) => name.startsWith(`${fn}.`));
  return fail(
    "function_not_found",
    isClass
      ? `'${fn}' is a class of app '${app}'; call one of its methods: ${methods.join(", ")}`
      : `app '${app}' version ${version} has no function '${fn}'`,
    { app, function: fn, functions: known.slice(0, 100) },
  );
}

const FORM = "letters, digits, '-' and '_', starting with a letter or digit, 64 at most";

export function checkAppName(app: string): void {
  if (!NAME.test(app)) fail("invalid_name", `${JSON.stringify(app.slice(0, 80))} is no app name: ${FORM}`);
}

export function checkFunctionName(fn: string): void {
  if (!FUNCTION_NAME.test(fn)) fail("invalid_name", `${JSON.stringify(fn.slice(0, 80))} is no function name`);
}
