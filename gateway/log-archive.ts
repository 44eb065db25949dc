/** The archive of logs in the bucket: `logs/<app>/<day>/<epoch>-<first>-<last>.ndjson.gz`, one JSON line for each line printed. */
import { pipeline } from "node:stream";
import { buffer } from "node:stream/consumers";
import { createGunzip, createGzip } from "node:zlib";
import { gapLine } from "../core/log-gap.ts";
import { gapBetween, parseSeq, seqText } from "../core/log-seq.ts";
import type { ObjectStore } from "../core/object-store.ts";
import type { LogLine } from "../core/state-store.ts";

export interface Segment {
  key: string;
  /** Positions, both inclusive. */
  first: string;
  last: string;
  /** When it was written: later than all of its lines. */
  writtenMs: number;
}

const ROOT = "logs/";
const NAME = /^(\d{1,15})-(\d{12})-(\d{12})\.ndjson\.gz$/;
const DAY = /^\d{4}-\d{2}-\d{2}$/;
export const DAY_MS = 86_400_000;
/** Nodes' clocks may differ by this much. */
export const SKEW_MS = 60_000;

export const dayOf = (ms: number): string => new Date(ms).toISOString().slice(0, 10);
/** Beyond it there are no dates. */
const LATEST_MS = 8_000_000_000_000_000;
const padded = (number: number): string => String(number).padStart(12, "0");

/** Names sort as their lines do. */
export function segmentKey(app: string, firstAt: number, first: string, last: string): string {
  const { epoch, number } = parseSeq(first);
  return `${ROOT}${app}/${dayOf(firstAt)}/${epoch}-${padded(number)}-${padded(parseSeq(last).number)}.ndjson.gz`;
}

export function parseSegmentName(name: string): { first: string; last: string } | undefined {
  const [, epoch, first, last] = NAME.exec(name) ?? [];
  if (epoch === undefined) return undefined;
  const seq = (number: string | undefined): string => seqText({ epoch: Number(epoch), number: Number(number) });
  return { first: seq(first), last: seq(last) };
}

/** Where a line before another is missing, a line that says so; `seq` of such a line is the last position it stands for. */
export function withGaps(before: string | undefined, lines: readonly LogLine[]): LogLine[] {
  let last = before;
  return lines.flatMap((line) => {
    const isTold = last === undefined || line.gap?.from !== undefined;
    const missing = isTold ? undefined : gapBetween(last!, line.seq!);
    last = line.seq;
    if (!missing) return [line];
    const { gap, reason } = missing;
    return [{ ...gapLine(line.at, { fn: "", container: "" }, gap, reason), seq: gap.to }, line];
  });
}

/** Writes a segment from pages of its lines; false when it was there already. A day without a line has no segment. */
export async function writeSegment(
  objects: ObjectStore,
  app: string,
  { first, last }: { first: string; last: string },
  pages: AsyncIterable<LogLine[]>,
): Promise<boolean> {
  const gzip = createGzip();
  const packed = buffer(gzip);
  const { epoch, number } = parseSeq(first);
  let before = seqText({ epoch, number: number - 1 });
  let firstAt: number | undefined;
  for await (const page of pages) {
    firstAt ??= page[0]?.at;
    for (const line of withGaps(before, page)) gzip.write(`${JSON.stringify(line)}\n`);
    before = page.at(-1)?.seq ?? before;
  }
  gzip.end();
  const body = await packed;
  // All of it was trimmed before: readers see the gap between its neighbours.
  if (firstAt === undefined) return false;
  const key = segmentKey(app, firstAt, first, last);
  return (await objects.put(key, body, { ifNoneMatch: true, contentType: "application/gzip" })).created;
}

async function daysOf(objects: ObjectStore, app: string): Promise<string[]> {
  const days: string[] = [];
  for await (const entry of objects.list(`${ROOT}${app}/`, { delimiter: "/" }))
    if (entry.kind === "prefix") days.push(entry.prefix.slice(ROOT.length + app.length + 1, -1));
  return days.filter((day) => DAY.test(day));
}

/** Segments that may hold lines of the time asked for, in their order or the newest first. */
export async function* segments(
  objects: ObjectStore,
  app: string,
  { sinceMs = 0, untilMs = Number.MAX_SAFE_INTEGER }: { sinceMs?: number; untilMs?: number },
  newestFirst = false,
): AsyncGenerator<Segment> {
  // A segment lies under the day of its first line, so that the day before may hold lines of this one.
  const [from, to] = [dayOf(Math.max(0, sinceMs - DAY_MS)), untilMs > LATEST_MS ? "9" : dayOf(untilMs + SKEW_MS)];
  const days = (await daysOf(objects, app)).filter((day) => day >= from && day <= to);
  for (const day of newestFirst ? days.reverse() : days) {
    const found: Segment[] = [];
    for await (const entry of objects.list(`${ROOT}${app}/${day}/`)) {
      if (entry.kind !== "object" || entry.modifiedMs + SKEW_MS < sinceMs) continue;
      const bounds = parseSegmentName(entry.key.slice(entry.key.lastIndexOf("/") + 1));
      if (bounds) found.push({ key: entry.key, ...bounds, writtenMs: entry.modifiedMs });
    }
    yield* newestFirst ? found.reverse() : found;
  }
}

/** A segment that was removed meanwhile has no lines. */
export async function* readSegment(objects: ObjectStore, key: string): AsyncGenerator<LogLine> {
  const object = await objects.get(key);
  if (!object) return;
  // An error of either stream ends the reading below, which throws it.
  const text = pipeline(object.body, createGunzip(), () => undefined).setEncoding("utf8");
  let rest = "";
  for await (const chunk of text) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop()!;
    for (const line of lines) yield JSON.parse(line) as LogLine;
  }
}

/** Removes whole days of all apps that ended more than `days` ago; says how many. */
export async function removeOldDays(objects: ObjectStore, days: number, now: number): Promise<number> {
  const oldest = dayOf(now - days * DAY_MS);
  let removed = 0;
  for await (const entry of objects.list(ROOT, { delimiter: "/" })) {
    if (entry.kind !== "prefix") continue;
    const app = entry.prefix.slice(ROOT.length, -1);
    for (const day of await daysOf(objects, app)) {
      if (day >= oldest) continue;
      await objects.deletePrefix(`${ROOT}${app}/${day}/`);
      removed++;
    }
  }
  return removed;
}
