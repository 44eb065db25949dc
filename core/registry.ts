/** Apps and their versions: the bucket is the truth, memory is a cache that hints and time invalidate. */
import { createHash } from "node:crypto";
import { text } from "node:stream/consumers";
import type { Clock } from "./clock.ts";
import { fail } from "./errors.ts";
import type { ObjectStore } from "./object-store.ts";
import type { Deployment, VersionManifest } from "./spec.ts";
import type { StateStore } from "./state-store.ts";

/** A missed hint is made up for after this long. */
const CURRENT_TTL_MS = 5_000;

export interface Registry {
  /** The version that unpinned calls run; `undefined` when no app of this name is deployed. */
  current(app: string): Promise<VersionManifest | undefined>;
  /** Any version, ephemeral ones too. */
  version(app: string, version: string): Promise<VersionManifest | undefined>;
  apps(): Promise<string[]>;
  /** Numbered versions, oldest first. */
  versions(app: string): Promise<string[]>;
  /**
   * Stores the next version and switches to it; when the current one was made from an equal deployment, nothing changes. Two
   * callers at the same time get two numbers.
   */
  publish(
    deployment: Deployment,
    imageRefs: Record<string, string>,
  ): Promise<{ manifest: VersionManifest; unchanged: boolean }>;
  /** Throws `version_not_found`. */
  switchTo(app: string, version: string): Promise<VersionManifest>;
  /** Forgets the app and its versions; sources and results stay. */
  remove(app: string): Promise<void>;
  close(): void;
}

const appPrefix = (app: string): string => `apps/${app}/`;
const currentKey = (app: string): string => `${appPrefix(app)}current.json`;
/** Left by a deleted app: its version numbers are not used again, since somebody may still remember them. */
const lastNumberKey = (app: string): string => `${appPrefix(app)}last-version.json`;
const manifestKey = (app: string, version: string): string => `${appPrefix(app)}versions/${version}/manifest.json`;

/** The identity of a deployment: equal deployments have equal digests. */
export const deploymentDigest = (deployment: Deployment): string =>
  createHash("sha256")
    .update(JSON.stringify(sorted(deployment)))
    .digest("hex");

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, inner]) => [name, sorted(inner)]),
  );
}

export function manifestOf(
  deployment: Deployment,
  version: string,
  imageRefs: Record<string, string>,
  now: number,
): VersionManifest {
  return {
    app: deployment.app,
    version,
    digest: deploymentDigest(deployment),
    source: deployment.source,
    images: Object.fromEntries(
      Object.entries(deployment.images).map(([key, spec]) => [key, { spec, ref: imageRefs[key]! }]),
    ),
    functions: deployment.functions,
    createdAt: new Date(now).toISOString(),
  };
}

interface RegistryDeps {
  objects: ObjectStore;
  state: Pick<StateStore, "hints" | "holds">;
  clock: Clock;
  /** Told of looks into the bucket that failed although nobody waited for them. */
  onError?: (error: unknown) => void;
}

export async function createRegistry({ objects, state, clock, onError = () => {} }: RegistryDeps): Promise<Registry> {
  const current = new Map<string, { manifest: VersionManifest; until: number }>();
  const manifests = new Map<string, VersionManifest>();
  const stopListening = await state.hints.onAppChanged((app) => current.delete(app));

  const readJson = async <T>(key: string): Promise<T | undefined> => {
    const object = await objects.get(key);
    return object && (JSON.parse(await text(object.body)) as T);
  };

  const version = async (app: string, number: string): Promise<VersionManifest | undefined> => {
    const key = manifestKey(app, number);
    const known = manifests.get(key);
    if (known) return known;
    const manifest = number.startsWith("run_")
      ? parsed(await state.holds.ephemeral(app, number))
      : await readJson<VersionManifest>(key);
    if (manifest && !number.startsWith("run_")) manifests.set(key, manifest);
    return manifest;
  };

  const versions = async (app: string): Promise<string[]> => {
    const found: number[] = [];
    for await (const entry of objects.list(`${appPrefix(app)}versions/`)) {
      if (entry.kind !== "object") continue;
      const number = /versions\/(\d+)\/manifest\.json$/.exec(entry.key)?.[1];
      if (number) found.push(Number(number));
    }
    return found.sort((a, b) => a - b).map(String);
  };

  const lastNumber = async (app: string): Promise<number> => {
    const deleted = await readJson<{ version: number }>(lastNumberKey(app));
    return Math.max(deleted?.version ?? 0, Number((await versions(app)).at(-1) ?? 0));
  };

  const point = async (manifest: VersionManifest): Promise<void> => {
    await objects.put(currentKey(manifest.app), JSON.stringify({ version: manifest.version }), {
      contentType: "application/json",
    });
    current.delete(manifest.app);
    await state.hints.appChanged(manifest.app);
  };

  const refresh = async (app: string): Promise<VersionManifest | undefined> => {
    const pointer = await readJson<{ version: string }>(currentKey(app));
    const manifest = pointer && (await version(app, pointer.version));
    if (manifest) current.set(app, { manifest, until: clock.monotonic() + CURRENT_TTL_MS });
    else current.delete(app);
    return manifest;
  };

  const readCurrent = async (app: string): Promise<VersionManifest | undefined> => {
    const known = current.get(app);
    if (!known) return refresh(app);
    if (known.until <= clock.monotonic()) {
      known.until = clock.monotonic() + CURRENT_TTL_MS;
      // Nobody waits for the look that makes up for a lost hint; while the bucket is away, what is known stays true.
      refresh(app).catch(onError);
    }
    return known.manifest;
  };

  return {
    current: readCurrent,
    version,
    versions,

    async apps() {
      const found: string[] = [];
      for await (const entry of objects.list("apps/"))
        if (entry.kind === "object" && entry.key.endsWith("/current.json"))
          found.push(entry.key.slice("apps/".length, -"/current.json".length));
      return found;
    },

    async publish(deployment, imageRefs) {
      current.delete(deployment.app);
      const now = await readCurrent(deployment.app);
      const unchanged = now?.digest === deploymentDigest(deployment) && sameRefs(now, imageRefs);
      if (now && unchanged) return { manifest: now, unchanged };
      let next = (await lastNumber(deployment.app)) + 1;
      for (;;) {
        const manifest = manifestOf(deployment, String(next), imageRefs, clock.now());
        const { created } = await objects.put(manifestKey(deployment.app, manifest.version), JSON.stringify(manifest), {
          ifNoneMatch: true,
          contentType: "application/json",
        });
        if (created) {
          await point(manifest);
          return { manifest, unchanged: false };
        }
        next++;
      }
    },

    async switchTo(app, number) {
      const manifest = /^\d+$/.test(number) ? await version(app, number) : undefined;
      if (!manifest) fail("version_not_found", `${app} has no version ${number}.`, { app, version: number });
      await point(manifest);
      return manifest;
    },

    async remove(app) {
      await objects.put(lastNumberKey(app), JSON.stringify({ version: await lastNumber(app) }));
      await objects.delete(currentKey(app));
      await objects.deletePrefix(`${appPrefix(app)}versions/`);
      current.delete(app);
      for (const key of manifests.keys()) if (key.startsWith(appPrefix(app))) manifests.delete(key);
      await state.hints.appChanged(app);
    },

    close: stopListening,
  };
}

const parsed = (manifest: string | undefined): VersionManifest | undefined =>
  manifest ? JSON.parse(manifest) : undefined;

const sameRefs = (manifest: VersionManifest, refs: Record<string, string>): boolean =>
  Object.entries(manifest.images).every(([key, image]) => refs[key] === image.ref);
