/** `fabric logs`: what functions print, on stdout, each line with its function. */
import { setTimeout as wait } from "node:timers/promises";
import type { LogEntry } from "../../typescript/client.ts";
import { type Context, UsageError } from "../context.ts";
import { moment, rowsOf } from "../table.ts";

export interface LogsOptions {
  follow?: boolean;
  function?: string;
  invocation?: string;
  tail?: string;
  json?: boolean;
}

export async function logs(app: string | undefined, options: LogsOptions, context: Context): Promise<void> {
  const { terminal, signal } = context;
  const client = context.client();
  const tail = Number(options.tail ?? 200);
  if (!Number.isInteger(tail) || tail < 0) throw new UsageError(`--tail ${options.tail} is not a number of lines`);
  const name = app ?? (await whichApp(options, context));
  const query = {
    follow: options.follow || undefined,
    function: options.function,
    invocation: options.invocation,
    tail,
  };
  for await (const entry of client.logs(name, query, signal))
    terminal.out(options.json ? JSON.stringify(entry) : formatLine(entry, context));
}

const formatLine = (entry: LogEntry, { terminal: { paint } }: Context): string => {
  const text = entry.source === "stderr" ? paint.yellow(entry.text) : entry.text;
  return `${paint.dim(`${moment(entry.at).slice(11)} ${entry.fn}`)} ${text.trimEnd()}`;
};

async function whichApp(options: LogsOptions, context: Context): Promise<string> {
  const client = context.client();
  if (options.invocation) return String((await client.invocation(options.invocation)).app);
  const apps = rowsOf(await client.apps()).map((row) => String(row.app ?? row.name));
  if (apps.length === 1 && apps[0]) return apps[0];
  throw new UsageError(
    apps.length === 0 ? "no app is deployed yet" : `which app? fabric logs APP, of: ${apps.join(", ")}`,
  );
}

/** Lines reach the store a moment after the call's end; this is how long that moment is waited for. */
const LATE_LINES_MS = [50, 150, 300];

/** Prints one call's output on stderr until told that it ended. A lost log stream does not fail the call. */
export async function followInvocation(app: string, id: string, context: Context, ended: AbortSignal): Promise<void> {
  const client = context.client();
  const seen = new Set<LogEntry["seq"]>();
  const print = async (lines: AsyncIterable<LogEntry>): Promise<void> => {
    for await (const { seq, text } of lines) {
      if (!seen.has(seq)) context.terminal.note(text.trimEnd());
      seen.add(seq);
    }
  };
  try {
    await print(client.logs(app, { follow: true, invocation: id, tail: 1000 }, ended));
  } catch (error) {
    if (!ended.aborted)
      context.terminal.warn(`the log stream ended: ${error instanceof Error ? error.message : error}`);
  }
  for (const ms of LATE_LINES_MS) {
    await wait(ms);
    await print(client.logs(app, { invocation: id, tail: 1000 }, context.signal));
  }
}
