/** Sends what functions printed: what is kept, and with `follow` what comes. */
import type { Clock } from "../core/clock.ts";
import type { LogLine } from "../core/state-store.ts";
import type { GatewayDeps } from "./deps.ts";
import { type LineWriter, lineStream } from "./line-stream.ts";

export interface LogQuery {
  follow: boolean;
  fn?: string;
  invocation?: string;
  /** Start with only the last so many; absent: all that are kept. */
  tail?: number;
}

type Deps = Pick<GatewayDeps, "state" | "clock" | "log">;

const PAGE = 1_000;
/** A lost hint delays lines by this much. */
const LOOK_MS = 2_000;

export function streamLogs(deps: Deps, app: string, query: LogQuery): Response {
  return lineStream(deps, async (out, signal) => {
    const bell = doorbell(deps.clock, signal);
    const stop = query.follow ? await deps.state.hints.onLog(app, bell.ring) : () => {};
    try {
      let last = query.tail === undefined ? "0" : await sendTail(deps, app, query, query.tail, out);
      while (!signal.aborted) {
        // Filtered here: a page of foreign lines is then read once, not again at every look.
        const lines = await deps.state.logs.read(app, { after: last, limit: PAGE });
        for (const line of lines) if (isWanted(line, query)) await out.write(line);
        last = lines.at(-1)?.seq ?? last;
        if (lines.length === PAGE) continue;
        if (!query.follow) return;
        await bell.wait(LOOK_MS);
      }
    } finally {
      stop();
    }
  });
}

/** Answers the position behind everything that was looked at. */
async function sendTail({ state }: Deps, app: string, query: LogQuery, tail: number, out: LineWriter): Promise<string> {
  const end = (await state.logs.read(app, { limit: 1, tail: true })).at(-1)?.seq ?? "0";
  if (tail === 0) return end;
  const { fn, invocation } = query;
  const lines = await state.logs.read(app, { limit: tail, tail: true, fn, invocation });
  for (const line of lines) await out.write(line);
  return later(end, lines.at(-1)?.seq ?? "0");
}

const isWanted = (line: LogLine, { fn, invocation }: LogQuery): boolean =>
  (fn === undefined || line.fn === fn) && (invocation === undefined || line.invocation === invocation);

/** Positions are `<milliseconds>-<count>`. */
export function later(a: string, b: string): string {
  const [aMs = 0, aCount = 0] = a.split("-").map(Number);
  const [bMs = 0, bCount = 0] = b.split("-").map(Number);
  return bMs > aMs || (bMs === aMs && bCount > aCount) ? b : a;
}

/** Rings that come while nobody waits are kept: the next wait returns at once. */
function doorbell(clock: Clock, signal: AbortSignal): { ring(): void; wait(ms: number): Promise<void> } {
  let rang = false;
  let wake = () => {};
  const ring = () => {
    rang = true;
    wake();
  };
  signal.addEventListener("abort", ring);
  return {
    ring,
    async wait(ms) {
      if (!rang) {
        await new Promise<void>((resolve) => {
          const forget = clock.after(ms, resolve);
          wake = () => [forget(), resolve()];
        });
      }
      rang = false;
    },
  };
}
