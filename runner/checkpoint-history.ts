/** Keeps every row of metrics that one attempt reports, in parts of its own. */
import { listMetricsParts, type MetricsRow, metricsKey, readMetrics } from "../core/checkpoint-metrics.ts";
import type { Log } from "../core/log.ts";
import type { ObjectStore } from "../core/object-store.ts";
import { untilDone } from "../core/until-done.ts";

export interface History {
  /** What this attempt has reported before its runner was restarted. */
  readonly before: readonly MetricsRow[];
  /** Returns when it is stored; what the bucket does not take is stored with the next row, or at the end. */
  add(row: Omit<MetricsRow, "at" | "invocation" | "generation">): Promise<void>;
  /** Stores what is not stored yet. */
  close(): Promise<void>;
}

/** What the bucket does not take when the attempt ends is tried again for so long. */
const PATIENCE_MS = 600_000;
/** A part is written anew with every row until it is this large: small enough for that, large enough to be few. */
const PART_BYTES = 64 * 1024;

export async function openHistory(
  { objects, log }: { objects: ObjectStore; log: Log },
  series: string,
  me: { id: string; generation: number },
): Promise<History> {
  const parts = await listMetricsParts(objects, series);
  const mine = parts.filter(({ invocation, generation }) => invocation === me.id && generation === me.generation);
  const before = await readMetrics(objects, mine);
  let number = (parts.at(-1)?.number ?? -1) + 1;
  let lines: string[] = [];
  let stored = 0;
  let writing: Promise<void> = Promise.resolve();
  let queued: Promise<void> | undefined;
  let problem: unknown;

  async function write(): Promise<void> {
    queued = undefined;
    const count = lines.length;
    if (count === stored) return;
    const body = lines.join("");
    const key = metricsKey(series, { number, invocation: me.id, generation: me.generation });
    try {
      await objects.put(key, body, { contentType: "application/x-ndjson" });
    } catch (err) {
      problem = err;
      log.warn({ err, series, rows: count - stored, ...me }, "rows of metrics wait for the bucket");
      return;
    }
    stored = count;
    if (body.length < PART_BYTES) return;
    lines = lines.slice(count);
    stored = 0;
    number++;
  }

  /** Rows that come while one write runs share the next. */
  const flush = (): Promise<void> => (queued ??= writing = writing.then(write));

  return {
    before,
    add({ step, request, checkpoint, metrics }) {
      const at = new Date().toISOString();
      const { id: invocation, generation } = me;
      const row: MetricsRow = { step, at, invocation, generation, request, checkpoint, metrics };
      lines.push(`${JSON.stringify(row)}\n`);
      return flush();
    },
    async close() {
      const all = async (): Promise<void> => {
        await flush();
        if (stored < lines.length) throw problem;
      };
      await untilDone(all, AbortSignal.timeout(PATIENCE_MS)).catch((err: unknown) =>
        log.error({ err, series, rows: lines.length - stored, ...me }, "rows of metrics were not stored"),
      );
    },
  };
}
