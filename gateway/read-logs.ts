/** Reads an app's log as one: what is archived, then what Redis holds, and a gap record wherever lines are missing between. */
import { compareSeq, gapBetween } from "../core/log-seq.ts";
import type { LogLine } from "../core/state-store.ts";
import { isOf } from "../core/variant.ts";
import type { GatewayDeps } from "./deps.ts";
import { readSegment, SKEW_MS, segments, withGaps } from "./log-archive.ts";

export interface LogFilter {
  fn?: string;
  invocation?: string;
  /** This invocation and all calls below it. */
  root?: string;
  source?: LogLine["source"];
  /** Plain text that a line must contain. */
  grep?: string;
  sinceMs?: number;
  untilMs?: number;
}

type Deps = Pick<GatewayDeps, "state" | "objects">;

const PAGE = 1_000;
/** Looking for the last lines without a start, so many segments back at most. */
const MAX_BACK = 100;

/** A gap passes where the lines that are missing could have. */
export function isWanted(line: LogLine, { fn, invocation, root, source, grep, sinceMs, untilMs }: LogFilter): boolean {
  if (sinceMs !== undefined && line.at < sinceMs) return false;
  if (untilMs !== undefined && line.at > untilMs) return false;
  const isGap = line.gap !== undefined;
  if (fn !== undefined && !isOf(line.fn, fn) && !(isGap && line.fn === "")) return false;
  if (invocation !== undefined && line.invocation !== invocation && !(isGap && line.invocation === undefined))
    return false;
  if (isGap) return true;
  if (root !== undefined && line.invocation !== root && line.root !== root) return false;
  return (source === undefined || line.source === source) && (grep === undefined || line.text.includes(grep));
}

export interface Page {
  lines: LogLine[];
  /** The position behind everything that was looked at, lines that were not wanted included. */
  position: string;
}

/**
 * What is kept behind `after`, oldest first, in pages of wanted lines; the last page's position is where to go on. Redis is
 * asked first; where its lines do not follow, the archive has those between, also what was trimmed while this reads.
 */
export async function* readForward(
  deps: Deps,
  app: string,
  after: string,
  filter: LogFilter,
  mayBegin = true,
): AsyncGenerator<Page> {
  const { sinceMs, untilMs } = filter;
  let position = after;
  let looked: string | undefined;
  const page = (raw: readonly LogLine[]): Page => {
    // Where reading begins nobody knows what came before.
    const lines = withGaps(position === "0" ? undefined : position, raw).filter((line) => isWanted(line, filter));
    position = raw.at(-1)?.seq ?? position;
    return { lines, position };
  };
  const hasMore = (raw: readonly LogLine[]): boolean => {
    const [first] = raw;
    if (position === "0") return sinceMs === undefined || first === undefined || first.at >= sinceMs - SKEW_MS;
    return first === undefined ? mayBegin : gapBetween(position, first.seq!) !== undefined;
  };
  for (;;) {
    const raw = await deps.state.logs.read(app, { after: position, limit: PAGE });
    if (looked !== position && hasMore(raw)) {
      for await (const archived of archivedPages(deps, app, position, raw[0]?.seq, filter)) yield page(archived);
      looked = position;
      continue;
    }
    yield page(raw);
    if (raw.length < PAGE || (untilMs !== undefined && raw.at(-1)!.at > untilMs + SKEW_MS)) return;
  }
}

async function* archivedPages(
  deps: Deps,
  app: string,
  after: string,
  before: string | undefined,
  filter: LogFilter,
): AsyncGenerator<LogLine[]> {
  for await (const { key, first, last } of segments(deps.objects, app, filter)) {
    if (compareSeq(last, after) <= 0) continue;
    if (before !== undefined && compareSeq(first, before) >= 0) return;
    for await (const page of pagesOf(deps, key, after)) {
      const wanted = before === undefined ? page : page.filter(({ seq }) => compareSeq(seq!, before) < 0);
      if (wanted.length > 0) yield wanted;
    }
  }
}

async function* pagesOf({ objects }: Deps, key: string, after: string): AsyncGenerator<LogLine[]> {
  let page: LogLine[] = [];
  for await (const line of readSegment(objects, key)) {
    if (compareSeq(line.seq!, after) <= 0) continue;
    page.push(line);
    if (page.length < PAGE) continue;
    yield page;
    page = [];
  }
  if (page.length > 0) yield page;
}

/** The last `count` wanted lines, and the position behind all that are kept. */
export async function readLast(deps: Deps, app: string, count: number, filter: LogFilter): Promise<Page> {
  const end = (await deps.state.logs.read(app, { limit: 1, tail: true })).at(-1)?.seq;
  let found: LogLine[] = [];
  let next: LogLine | undefined;
  for await (const raw of backwards(deps, app, filter)) {
    const withNext = withGaps(undefined, next ? [...raw, next] : raw);
    const wanted = withNext.slice(0, next ? -1 : undefined).filter((line) => isWanted(line, filter));
    found = [...wanted, ...found];
    if (found.length >= count) break;
    next = raw[0];
  }
  return { lines: count === 0 ? [] : found.slice(-count), position: end ?? found.at(-1)?.seq ?? "0" };
}

/** Pages from the newest to the oldest, each in order; ends behind the time asked for. */
async function* backwards(deps: Deps, app: string, filter: LogFilter): AsyncGenerator<LogLine[]> {
  const { sinceMs } = filter;
  const isBefore = (line: LogLine): boolean => sinceMs !== undefined && line.at < sinceMs - SKEW_MS;
  let before: string | undefined;
  for (;;) {
    const raw = await deps.state.logs.read(app, { before, limit: PAGE, tail: true });
    if (raw.length > 0) yield raw;
    before = raw[0]?.seq ?? before;
    if (raw[0] && isBefore(raw[0])) return;
    if (raw.length < PAGE) break;
  }
  let looked = 0;
  for await (const segment of segments(deps.objects, app, filter, true)) {
    if (before !== undefined && compareSeq(segment.first, before) >= 0) continue;
    if (sinceMs === undefined && ++looked > MAX_BACK) return;
    const raw: LogLine[] = [];
    for await (const line of readSegment(deps.objects, segment.key))
      if (before === undefined || compareSeq(line.seq!, before) < 0) raw.push(line);
    if (raw.length > 0) yield raw;
    before = raw[0]?.seq ?? before;
  }
}
