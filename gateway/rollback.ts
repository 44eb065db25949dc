/** Points an app at a version it had before. */
import { fail } from "../core/errors.ts";
import type { VersionManifest } from "../core/spec.ts";
import type { Catalog } from "./catalog.ts";
import type { GatewayDeps } from "./deps.ts";

export async function rollback(
  { registry, catalog }: Pick<GatewayDeps, "registry"> & { catalog: Catalog },
  app: string,
  version: string | undefined,
): Promise<VersionManifest> {
  const current = await catalog.manifest(app);
  const wanted = version ?? previous(await registry.versions(app), current.version);
  if (wanted === undefined) fail("version_not_found", `'${app}' has no version before ${current.version}`, { app });
  return registry.switchTo(app, wanted);
}

/** The highest number below the current one. */
export const previous = (versions: string[], current: string): string | undefined =>
  versions.filter((version) => Number(version) < Number(current)).at(-1);
