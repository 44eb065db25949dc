/** Ships what functions print: in batches, off the hot path, in bounded memory with a note where lines were dropped. */
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { LogLine, LogStore } from "../core/state-store.ts";

const BATCH_LINES = 100;
const BATCH_MS = 50;
const MAX_HELD = 10_000;
const MAX_LINE = 16_384;

export interface LogShipper {
  add(app: string, line: LogLine): void;
  /** Splits text at its line ends. */
  addText(app: string, line: Omit<LogLine, "text">, text: string): void;
  /** Ships what is held; for the end of the runner. */
  flush(): Promise<void>;
}

interface Held {
  lines: LogLine[];
  dropped: number;
  waiting: boolean;
  sending?: Promise<void>;
}

export function createLogShipper({ logs, clock, log }: { logs: LogStore; clock: Clock; log: Log }): LogShipper {
  const apps = new Map<string, Held>();

  async function send(app: string, held: Held): Promise<void> {
    const lines = held.lines.splice(0);
    if (held.dropped > 0) lines.push({ ...lines[lines.length - 1]!, source: "system", text: gap(held.dropped) });
    held.dropped = 0;
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
    held.lines.push(line.text.length > MAX_LINE ? { ...line, text: `${line.text.slice(0, MAX_LINE)}...` } : line);
    if (held.lines.length >= BATCH_LINES) shipNow(app, held);
    else schedule(app, held);
  }

  return {
    add,
    addText(app, line, text) {
      for (const part of text.replace(/\n$/, "").split("\n")) add(app, { ...line, text: part });
    },
    async flush() {
      for (const [app, held] of apps) {
        await held.sending;
        if (held.lines.length > 0) await send(app, held);
      }
    },
  };
}

const gap = (count: number): string => `(${count} lines were dropped: more was printed than could be shipped)`;
