/** Deletes what expired invocations left in the bucket: those Redis knows of at once, others when they are old enough. */
import { json } from "node:stream/consumers";
import type { Clock } from "../core/clock.ts";
import { asFabricError } from "../core/errors.ts";
import { idTimeMs, isId } from "../core/ids.ts";
import { IMAGES } from "../core/image-index.ts";
import { invocationPrefix, resultManifestKey } from "../core/invocation.ts";
import type { Log } from "../core/log.ts";
import type { ObjectStore } from "../core/object-store.ts";
import type { StateStore } from "../core/state-store.ts";
import type { UploadStore } from "../core/upload-store.ts";
import { collectCheckpoints } from "./collect-checkpoints.ts";
import { UPLOAD_AGE_MS } from "./uploads.ts";

const LOOK_EVERY_MS = 5_000;
const LEASE_MS = 5 * 60_000;
const AT_ONCE = 100;
const SEARCH_EVERY_MS = 3_600_000;
/** Invocations of one search; the next one goes on behind them. */
const SEARCH_MOST = 20_000;
/** Objects come before their record: what is younger may be about to get one. */
const LEAST_AGE_MS = 3_600_000;

interface CollectDeps {
  state: Pick<StateStore, "expired">;
  objects: ObjectStore;
  uploads: Pick<UploadStore, "dropParts">;
  clock: Clock;
  log: Log;
  /** Of invocations whose function does not say otherwise. */
  ttlSeconds: number;
}

/** Answers how many invocations' objects it deleted. */
export async function collectExpired({ state, objects }: CollectDeps): Promise<number> {
  const ids = await state.expired.take(LEASE_MS, AT_ONCE);
  for (const id of ids) {
    await objects.deletePrefix(invocationPrefix(id));
    await state.expired.gone([id]);
  }
  return ids.length;
}

/**
 * Finds objects of invocations that have no record and are not listed as expiring: after Redis lost everything, of attempts that
 * came too late, of uploads that no call named. Ids sort by time, so that it reads the old ones only.
 */
export async function collectOrphans(
  deps: CollectDeps,
  { after, most = SEARCH_MOST }: { after?: string; most?: number } = {},
): Promise<{ deleted: number; next?: string }> {
  const { state, objects, clock, ttlSeconds } = deps;
  const until = clock.now() - Math.max(ttlSeconds * 1000, LEAST_AGE_MS);
  let batch: string[] = [];
  let seen = 0;
  let last: string | undefined;
  let next: string | undefined;
  let deleted = 0;
  const flush = async (): Promise<void> => {
    const known = await state.expired.known(batch);
    for (const id of batch) if (!known.has(id) && (await deleteOrphan(deps, id))) deleted++;
    batch = [];
  };
  for await (const entry of objects.list(invocationPrefix(""), { delimiter: "/", after })) {
    const id = entry.kind === "prefix" ? entry.prefix.slice(invocationPrefix("").length, -1) : "";
    if (!isId("inv", id)) continue;
    if (idTimeMs(id) > until) break;
    if (seen++ === most) {
      next = last;
      break;
    }
    last = entry.kind === "prefix" ? entry.prefix : last;
    batch.push(id);
    if (batch.length === AT_ONCE) await flush();
  }
  await flush();
  return { deleted, next };
}

/** A result says itself how long its function keeps results. */
async function deleteOrphan({ objects, clock, ...deps }: CollectDeps, id: string): Promise<boolean> {
  const manifest = await objects.get(resultManifestKey(id));
  if (manifest) {
    const { ttlSeconds = deps.ttlSeconds } = (await json(manifest.body)) as { ttlSeconds?: number };
    if (manifest.modifiedMs + ttlSeconds * 1000 > clock.now()) return false;
  }
  await objects.deletePrefix(invocationPrefix(id));
  return true;
}

/** Collects until stopped; the returned function resolves when the pass that runs has ended. */
export function keepCollecting(deps: CollectDeps): () => Promise<void> {
  let stopped = false;
  let after: string | undefined;
  let pass: Promise<void> = Promise.resolve();
  let cancelTimer = () => {};
  const run = async (): Promise<void> => {
    let found = 0;
    try {
      found = await collectExpired(deps);
      if (await deps.state.expired.maySearch(SEARCH_EVERY_MS)) {
        await deps.uploads.dropParts(invocationPrefix(""), deps.clock.now() - UPLOAD_AGE_MS);
        await deps.uploads.dropParts("checkpoints/", deps.clock.now() - UPLOAD_AGE_MS);
        await deps.uploads.dropParts(IMAGES, deps.clock.now() - UPLOAD_AGE_MS);
        const folders = await collectCheckpoints(deps);
        if (folders > 0) deps.log.info({ folders }, "deleted checkpoints that were never complete");
        const { deleted, next } = await collectOrphans(deps, { after });
        after = next;
        if (deleted > 0) deps.log.info({ invocations: deleted }, "deleted objects of invocations without a record");
      }
    } catch (error) {
      const { code, message } = asFabricError(error);
      deps.log.warn({ code, error: message }, "expired objects were not deleted; it will be tried again");
    }
    wait(found === AT_ONCE ? 0 : LOOK_EVERY_MS);
  };
  const wait = (ms: number): void => {
    if (stopped) return;
    cancelTimer = deps.clock.after(ms, () => {
      pass = run();
    });
  };
  wait(LOOK_EVERY_MS);
  return async () => {
    stopped = true;
    cancelTimer();
    await pass;
  };
}
