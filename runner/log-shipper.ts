/**
 * Ships what functions print: in batches, off the hot path, in bounded memory. A container that prints more than its share
 * loses lines and nobody else does; wherever lines were lost, a gap record says how many and why.
 */
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import { gapLine } from "../core/log-gap.ts";
import type { LogGap } from "../core/log-seq.ts";
import type { LogLine, LogStore } from "../core/state-store.ts";
import { type LineLimit, lineLimit } from "./line-limit.ts";

const BATCH_LINES = 100;
const BATCH_MS = 50;
/** In one step of the store, so that a flood does not hold Redis up. */
const MAX_BATCH = 500;
const MAX_HELD = 20_000;
const MAX_LINE = 16_384;
/** Lines that a container lost to its limit are told together, this long after the first. */
const TELL_MS = 1_000;

interface LineOrigin {
  invocation?: string;
  /** The method, where it was one. */
  fn?: string;
  root?: string;
  /** Of a gang. */
  rank?: number;
}

export interface ContainerLog {
  /** Splits text at its line ends; subject to the container's limit. */
  print(source: "stdout" | "stderr", text: string, of?: LineOrigin): void;
  /** Fabric's own words about the container. */
  system(text: string): void;
  gap(gap: LogGap, reason: string, invocation?: string): void;
}

export interface LogShipper {
  open(container: { app: string; fn: string; container: string }): ContainerLog;
  /** Ships what is held; for the end of the runner. */
  flush(): Promise<void>;
}

export interface LogShipperDeps {
  logs: Pick<LogStore, "append">;
  clock: Clock;
  log: Log;
  limit: LineLimit;
}

interface Held {
  lines: LogLine[];
  dropped: number;
  waiting: boolean;
  sending?: Promise<void>;
}

export function createLogShipper({ logs, clock, log, limit }: LogShipperDeps): LogShipper {
  const apps = new Map<string, Held>();

  async function send(app: string, held: Held): Promise<void> {
    const lines = held.lines.splice(0, MAX_BATCH);
    if (held.dropped > 0 && held.lines.length === 0) {
      lines.push(
        gapLine(clock.now(), { fn: "", container: "" }, { lines: held.dropped }, "Redis did not take them in time"),
      );
      held.dropped = 0;
    }
    try {
      await logs.append(app, lines);
    } catch (thrown) {
      // Log lines are worth less than memory: those of an outage are counted, not kept for ever.
      const kept = lines.slice(0, Math.max(0, MAX_HELD - held.lines.length));
      held.dropped += lines.length - kept.length;
      held.lines.unshift(...kept);
      log.debug({ err: thrown, app }, "log lines wait for Redis");
    }
  }

  function schedule(app: string, held: Held): void {
    if (held.waiting) return;
    held.waiting = true;
    clock.after(BATCH_MS, () => {
      held.waiting = false;
      shipNow(app, held);
    });
  }

  function shipNow(app: string, held: Held): void {
    if (held.sending || held.lines.length === 0) return;
    held.sending = send(app, held).finally(() => {
      held.sending = undefined;
      if (held.lines.length > 0) schedule(app, held);
    });
  }

  function add(app: string, line: LogLine): void {
    const held = apps.get(app) ?? { lines: [], dropped: 0, waiting: false };
    apps.set(app, held);
    if (held.lines.length >= MAX_HELD) {
      held.dropped++;
      return;
    }
    held.lines.push(line);
    if (held.lines.length >= BATCH_LINES) shipNow(app, held);
    else schedule(app, held);
  }

  function open({ app, ...of }: { app: string; fn: string; container: string }): ContainerLog {
    const mayPass = lineLimit(limit);
    let lost = 0;
    /** Whose lines were lost; `null` when several inputs' were. */
    let loser: string | undefined | null;

    function lose(invocation: string | undefined): void {
      if (lost++ === 0) {
        loser = invocation;
        clock.after(TELL_MS, tellLost);
      } else if (loser !== invocation) loser = null;
    }

    function tellLost(): void {
      const reason = `the container printed more than ${limit.perSecond} lines a second`;
      add(app, { ...gapLine(clock.now(), of, { lines: lost }, reason), invocation: loser ?? undefined });
      lost = 0;
    }

    return {
      print(source, text, whose) {
        const [at, now] = [clock.now(), clock.monotonic()];
        for (const part of text.replace(/\n$/, "").split("\n")) {
          if (mayPass(part.length, now)) add(app, { at, ...of, ...whose, source, text: cut(part) });
          else lose(whose?.invocation);
        }
      },
      system(text) {
        for (const part of text.replace(/\n$/, "").split("\n"))
          add(app, { at: clock.now(), ...of, source: "system", text: cut(part) });
      },
      gap: (gap, reason, invocation) => add(app, { ...gapLine(clock.now(), of, gap, reason), invocation }),
    };
  }

  return {
    open,
    async flush() {
      for (const [app, held] of apps) {
        await held.sending;
        for (let before = 0; held.lines.length !== before; ) {
          before = held.lines.length;
          if (before > 0) await send(app, held);
        }
      }
    },
  };
}

const cut = (text: string): string => (text.length > MAX_LINE ? `${text.slice(0, MAX_LINE)}...` : text);
