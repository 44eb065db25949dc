/** Points an app at a version it had before. */

import { fail } from "../core/errors.ts";
import type { VersionManifest } from "../core/spec.ts";
import type { GatewayDeps } from "./deps.ts";
import { syncSchedules } from "./sync-schedules.ts";

export async function rollback(
  deps: Pick<GatewayDeps, "registry" | "catalog" | "state" | "objects" | "clock">,
  app: string,
  version: string | undefined,
): Promise<VersionManifest> {
  const { registry, catalog } = deps;
  const current = await catalog.manifest(app);
  const wanted = version ?? previous(await registry.versions(app), current.version);
  if (wanted === undefined) fail("version_not_found", `'${app}' has no version before ${current.version}`, { app });
  const manifest = await registry.switchTo(app, wanted);
  await syncSchedules(deps, app);
  return manifest;
}

/** The highest number below the current one. */
export const previous = (versions: string[], current: string): string | undefined =>
  versions.filter((version) => Number(version) < Number(current)).at(-1);
