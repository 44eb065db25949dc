/** What functions print, as one stream per app: bounded in lines and bytes, trimmed once it is archived. */
import { parseSeq, seqText } from "../log-seq.ts";
import type { LogLine, LogStore } from "../state-store.ts";
import { isOf } from "../variant.ts";
import type { Commands } from "./connection.ts";
import type { RedisKeys } from "./keys.ts";

/** Lines that no archiver came for go beyond these bounds; a gap in the numbers shows it. */
const KEPT_LINES = 20_000;
const KEPT_BYTES = 32 * 1024 * 1024;
/** Archived lines that stay, so that a look at the latest ones needs no archive. */
const KEPT_ARCHIVED = 5_000;
const MAX_DUE = 1_000;
const PAGE = 1_000;

export function logStore({ redis, run, safely }: Commands, keys: RedisKeys): LogStore {
  return {
    async append(app, lines) {
      if (lines.length === 0) return;
      await run(
        "log-append",
        [keys.log(app), keys.logFacts(app), keys.logsOpen],
        [app, keys.channels.log(app), KEPT_LINES, KEPT_BYTES, ...lines.map((line) => JSON.stringify(line))],
      );
    },

    read: (app, { after = "0", before, limit, tail = false, fn, invocation }) =>
      safely(async () => {
        const wanted = (line: LogLine) =>
          (fn === undefined || isOf(line.fn, fn)) && (invocation === undefined || line.invocation === invocation);
        const isAll = fn === undefined && invocation === undefined;
        const count = isAll ? Math.min(limit, PAGE) : PAGE;
        const found: LogLine[] = [];
        let from = tail ? (before === undefined ? "+" : `(${before}`) : `(${after}`;
        while (found.length < limit) {
          const page = tail
            ? await redis.xrevrange(keys.log(app), from, "-", "COUNT", count)
            : await redis.xrange(keys.log(app), from, "+", "COUNT", count);
          for (const [seq, fields] of page) {
            const line = { ...(JSON.parse(fields[1]!) as LogLine), seq };
            if (wanted(line) && found.length < limit) found.push(line);
          }
          if (page.length < count) break;
          from = `(${page.at(-1)![0]}`;
        }
        return tail ? found.reverse() : found;
      }),

    async due({ ageMs, lines }) {
      const apps = await run("log-due", [keys.logsOpen], [keys.logFactsPrefix, ageMs, lines, MAX_DUE]);
      return (apps as Buffer[]).map(String);
    },

    async takeSegment(app, owner, { leaseMs, lines }) {
      const taken = (await run(
        "log-take",
        [keys.logFacts(app), keys.logLease(app), keys.logsOpen],
        [app, owner, leaseMs, lines],
      )) as [Buffer, number, number] | null;
      if (!taken) return undefined;
      const [epoch, first, last] = taken.map(Number) as [number, number, number];
      return { first: seqText({ epoch, number: first }), last: seqText({ epoch, number: last }) };
    },

    async archived(app, last) {
      const { epoch, number } = parseSeq(last);
      await run(
        "log-archived",
        [keys.log(app), keys.logFacts(app), keys.logLease(app), keys.logsOpen],
        [app, epoch, number, KEPT_ARCHIVED],
      );
    },
  };
}
