/** What functions print, as one capped stream per app. */
import type { LogLine, LogStore } from "../state-store.ts";
import type { Commands } from "./connection.ts";
import type { RedisKeys } from "./keys.ts";

const KEPT_LINES = 20_000;
const PAGE = 1_000;

export function logStore({ redis, safely }: Commands, keys: RedisKeys): LogStore {
  return {
    append: (app, lines) =>
      safely(async () => {
        const pipeline = redis.pipeline();
        for (const line of lines)
          pipeline.xadd(keys.log(app), "MAXLEN", "~", KEPT_LINES, "*", "line", JSON.stringify(line));
        pipeline.publish(keys.channels.log(app), "");
        for (const [error] of (await pipeline.exec()) ?? []) if (error) throw error;
      }),

    read: (app, { after = "0", limit, tail = false, fn, invocation }) =>
      safely(async () => {
        const wanted = (line: LogLine) =>
          (fn === undefined || line.fn === fn) && (invocation === undefined || line.invocation === invocation);
        const found: LogLine[] = [];
        let from = tail ? "+" : `(${after}`;
        while (found.length < limit) {
          const page = tail
            ? await redis.xrevrange(keys.log(app), from, "-", "COUNT", PAGE)
            : await redis.xrange(keys.log(app), from, "+", "COUNT", PAGE);
          if (page.length === 0) break;
          for (const [seq, fields] of page) {
            const line = { ...(JSON.parse(fields[1]!) as LogLine), seq };
            if (wanted(line) && found.length < limit) found.push(line);
          }
          from = `(${page.at(-1)![0]}`;
        }
        return tail ? found.reverse() : found;
      }),
  };
}
