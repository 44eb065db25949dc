/** Keeps every row of metrics that one attempt reports, in parts of its own. */
import { listMetricsParts, type MetricsRow, metricsKey, readMetrics } from "../core/checkpoint-metrics.ts";
import type { Log } from "../core/log.ts";
import type { ObjectStore } from "../core/object-store.ts";
import { untilDone } from "../core/until-done.ts";

type Row = Omit<MetricsRow, "at" | "invocation" | "generation">;

export interface History {
  /** What this attempt has reported before its runner was restarted. */
  readonly before: readonly MetricsRow[];
  /** Returns when it is stored; what the bucket does not take is stored with the next row, or at the end. */
  add(row: Row): Promise<void>;
  /** Rows of other ranks, in parts of their own: they are stored behind the training. */
  addRanks(rows: readonly Row[]): void;
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
  const { id: invocation, generation } = me;
  const parts = await listMetricsParts(objects, series);
  const mine = parts.filter(
    (part) => part.invocation === invocation && part.generation === generation && !part.ofRanks,
  );
  const before = await readMetrics(objects, mine);
  const rowsOf = (ofRanks: boolean): Rows => {
    const number = (parts.filter((part) => part.ofRanks === ofRanks).at(-1)?.number ?? -1) + 1;
    const keyOf = (part: number) => metricsKey(series, { number: number + part, invocation, generation, ofRanks });
    return keepRows(objects, keyOf, (err, rows) =>
      log.warn({ err, series, rows, ...me }, "rows of metrics wait for the bucket"),
    );
  };
  const own = rowsOf(false);
  const ofRanks = rowsOf(true);

  function line({ step, request, checkpoint, metrics, rank }: Row): string {
    const row: MetricsRow = {
      step,
      at: new Date().toISOString(),
      invocation,
      generation,
      request,
      checkpoint,
      metrics,
    };
    return `${JSON.stringify({ ...row, rank })}\n`;
  }

  async function close(rows: Rows): Promise<void> {
    await untilDone(rows.stored, AbortSignal.timeout(PATIENCE_MS)).catch((err: unknown) =>
      log.error({ err, series, ...me }, "rows of metrics were not stored"),
    );
  }

  return {
    before,
    add: (row) => own.add([line(row)]),
    addRanks: (rows) => void ofRanks.add(rows.map(line)),
    close: async () => void (await Promise.all([close(own), close(ofRanks)])),
  };
}

interface Rows {
  add(lines: readonly string[]): Promise<void>;
  /** Throws what keeps them from being stored. */
  stored(): Promise<void>;
}

/** Lines in numbered parts. */
function keepRows(
  objects: ObjectStore,
  keyOf: (part: number) => string,
  onFailure: (error: unknown, rows: number) => void,
): Rows {
  let part = 0;
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
    try {
      await objects.put(keyOf(part), body, { contentType: "application/x-ndjson" });
    } catch (err) {
      problem = err;
      onFailure(err, count - stored);
      return;
    }
    stored = count;
    if (body.length < PART_BYTES) return;
    lines = lines.slice(count);
    stored = 0;
    part++;
  }

  /** Rows that come while one write runs share the next. */
  const flush = (): Promise<void> => (queued ??= writing = writing.then(write));

  return {
    add(more) {
      lines.push(...more);
      return flush();
    },
    async stored() {
      await flush();
      if (stored < lines.length) throw problem;
    },
  };
}
