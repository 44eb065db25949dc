/** Sends what functions printed: what is kept, and with `follow` what comes. */

import { doorbell } from "../core/doorbell.ts";
import type { GatewayDeps } from "./deps.ts";
import { type LineForm, lineStream } from "./line-stream.ts";
import { type LogFilter, readForward, readLast } from "./read-logs.ts";

export interface LogQuery extends LogFilter {
  follow: boolean;
  /** Start with only the last so many; absent: all that are kept. */
  tail?: number;
  /** Start behind this position; `tail` then does not count. */
  after?: string;
}

type Deps = Pick<GatewayDeps, "state" | "objects" | "clock" | "log">;

/** A lost hint delays lines by this much. */
const LOOK_MS = 2_000;

export function streamLogs(deps: Deps, app: string, query: LogQuery, form: LineForm = "ndjson"): Response {
  const { follow, tail, after } = query;
  return lineStream(
    deps,
    async (out, signal) => {
      const bell = doorbell(deps.clock, signal);
      const stop = follow ? await deps.state.hints.onLog(app, bell.ring) : () => {};
      let position = after ?? "0";
      try {
        if (tail !== undefined && after === undefined) {
          const last = await readLast(deps, app, tail, query);
          for (const line of last.lines) await out.write(line);
          if (!follow) return;
          position = last.position;
        }
        for (let isFirst = true; !signal.aborted; isFirst = false) {
          for await (const page of readForward(deps, app, position, query, isFirst)) {
            for (const line of page.lines) await out.write(line);
            position = page.position;
          }
          if (!follow) return;
          await bell.wait(LOOK_MS);
        }
      } finally {
        stop();
      }
    },
    form,
  );
}
