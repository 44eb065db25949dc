/** Moves logs to the bucket before Redis trims them: closed segments of every app, by one gateway at a time. */
import type { Clock } from "../core/clock.ts";
import { asFabricError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { compareSeq, parseSeq, seqText } from "../core/log-seq.ts";
import type { ObjectStore } from "../core/object-store.ts";
import type { LogLine, StateStore } from "../core/state-store.ts";
import { removeOldDays, writeSegment } from "./log-archive.ts";

export interface ArchiveDeps {
  state: Pick<StateStore, "logs">;
  objects: ObjectStore;
  clock: Clock;
  log: Log;
  /** Names this gateway on its leases. */
  owner: string;
  limits: {
    /** A segment is closed this long after its first line, or when it is full. */
    ageMs: number;
    /** 0: for ever. */
    retentionDays: number;
  };
}

const SEGMENT_LINES = 5_000;
const PAGE = 500;
const LEASE_MS = 30_000;
const LOOK_MS = 1_000;
const RETENTION_EVERY_MS = 3_600_000;
const LONGEST_PAUSE_MS = 15_000;

/** One pass over all apps; answers how many segments it wrote. */
export async function archiveOnce({
  state,
  objects,
  owner,
  limits,
}: Omit<ArchiveDeps, "clock" | "log">): Promise<number> {
  let written = 0;
  for (const app of await state.logs.due({ ageMs: limits.ageMs, lines: SEGMENT_LINES }))
    while (await archiveNext({ state, objects, owner }, app)) written++;
  return written;
}

/** False when nothing is left, or what is left is not a whole segment's worth of lines: that waits until it is due again. */
async function archiveNext(
  { state, objects, owner }: Pick<ArchiveDeps, "state" | "objects" | "owner">,
  app: string,
): Promise<boolean> {
  const segment = await state.logs.takeSegment(app, owner, { leaseMs: LEASE_MS, lines: SEGMENT_LINES });
  if (!segment) return false;
  await writeSegment(objects, app, segment, linesOf(state, app, segment));
  await state.logs.archived(app, segment.last);
  return parseSeq(segment.last).number - parseSeq(segment.first).number + 1 >= SEGMENT_LINES;
}

async function* linesOf(
  { logs }: Pick<StateStore, "logs">,
  app: string,
  { first, last }: { first: string; last: string },
): AsyncGenerator<LogLine[]> {
  const { epoch, number } = parseSeq(first);
  for (let after = seqText({ epoch, number: number - 1 }); ; ) {
    const page = await logs.read(app, { after, limit: PAGE });
    const inside = page.filter(({ seq }) => compareSeq(seq!, last) <= 0);
    if (inside.length > 0) yield inside;
    if (page.length < PAGE || inside.length < page.length) return;
    after = page.at(-1)!.seq!;
  }
}

/** Archives until stopped; the returned function resolves when the pass that runs has ended. */
export function keepArchiving(deps: ArchiveDeps): () => Promise<void> {
  const { clock, log, objects, limits } = deps;
  let stopped = false;
  let failures = 0;
  let cleanedAt = Number.NEGATIVE_INFINITY;
  let pass: Promise<void> = Promise.resolve();
  let cancelTimer = () => {};

  async function clean(): Promise<void> {
    if (limits.retentionDays === 0 || clock.monotonic() - cleanedAt < RETENTION_EVERY_MS) return;
    cleanedAt = clock.monotonic();
    const days = await removeOldDays(objects, limits.retentionDays, clock.now());
    if (days > 0) log.info({ days }, "removed days of archived logs");
  }

  async function run(): Promise<void> {
    try {
      await archiveOnce(deps);
      await clean();
      failures = 0;
    } catch (error) {
      failures++;
      const { code, message } = asFabricError(error);
      log.warn({ code, error: message, failures }, "logs were not archived; it will be tried again");
    }
    schedule();
  }

  function schedule(): void {
    if (stopped) return;
    cancelTimer = clock.after(Math.min(LOOK_MS * 2 ** failures, LONGEST_PAUSE_MS), () => {
      pass = run();
    });
  }

  schedule();
  return async () => {
    stopped = true;
    cancelTimer();
    await pass;
  };
}
