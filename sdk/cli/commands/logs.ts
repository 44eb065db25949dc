/** `fabric logs`: what functions print, on stdout, each line with its function. */
import { setTimeout as wait } from "node:timers/promises";
import { FabricError, fail } from "../../../core/errors.ts";
import { MOMENT_FORM, parseMoment } from "../../../core/moment.ts";
import type { LogEntry, LogQuery } from "../../typescript/client.ts";
import { type Context, UsageError } from "../context.ts";
import { moment, rowsOf } from "../table.ts";

export interface LogsOptions {
  follow?: boolean;
  function?: string;
  invocation?: string;
  tree?: boolean;
  source?: string;
  since?: string;
  until?: string;
  grep?: string;
  regex?: string;
  tail?: string;
  json?: boolean;
}

type Read = (query: LogQuery) => AsyncIterable<LogEntry>;
type Print = (line: LogEntry) => unknown;

const DEFAULT_TAIL = 200;

export async function logs(target: string | undefined, options: LogsOptions, context: Context): Promise<void> {
  const { terminal } = context;
  const { read, base, check } = await readerOf(target, options, context);
  const query: LogQuery = {
    ...base,
    source: options.source,
    since: checkedMoment("--since", options.since),
    until: checkedMoment("--until", options.until),
    grep: options.grep,
  };
  const tail = tailOf(options);
  if (options.follow && options.until !== undefined)
    throw new UsageError("--follow goes on and --until ends; give one");
  const print: Print = (line) => terminal.out(options.json ? JSON.stringify(line) : formatLine(line, context));
  const matches = matcher(options.regex);
  if (!options.follow) {
    // An app that is gone may have left lines, so that a name is doubted only where there are none.
    if ((await printKept(read, query, tail, matches, print)) === undefined) await check?.();
    return;
  }
  if (!matches) return follow(read, { ...query, tail }, print, context);
  const after = await printKept(read, query, tail, matches, print);
  const what = { ...query, since: undefined, after, tail: after === undefined ? 0 : undefined };
  await follow(read, what, (line) => matches(line) && print(line), context);
}

function tailOf({ tail, since }: LogsOptions): number | undefined {
  if (tail === undefined) return since === undefined ? DEFAULT_TAIL : undefined;
  const count = Number(tail);
  if (!Number.isInteger(count) || count < 0) throw new UsageError(`--tail ${tail} is not a number of lines`);
  return count;
}

function checkedMoment(name: string, text: string | undefined): string | undefined {
  if (text !== undefined && parseMoment(text, Date.now()) === undefined)
    throw new UsageError(`${name} ${text} is not ${MOMENT_FORM}`);
  return text;
}

/** Evaluated here and not in the gateway, which a costly expression could hold up. */
function matcher(pattern: string | undefined): ((line: LogEntry) => boolean) | undefined {
  if (pattern === undefined) return undefined;
  try {
    const regex = new RegExp(pattern, "u");
    return (line) => line.gap !== undefined || regex.test(line.text);
  } catch (error) {
    throw new UsageError(`--regex ${pattern}: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
}

/** Answers the last position that was read. */
async function printKept(
  read: Read,
  query: LogQuery,
  tail: number | undefined,
  matches: ((line: LogEntry) => boolean) | undefined,
  print: Print,
): Promise<string | undefined> {
  let last: string | undefined;
  // With an expression the last lines are those that match, and only this side knows which do.
  const held: LogEntry[] = [];
  for await (const line of read({ ...query, tail: matches ? undefined : tail })) {
    last = String(line.seq);
    if (!matches) print(line);
    else if (matches(line) && held.push(line) > (tail ?? Number.POSITIVE_INFINITY)) held.shift();
  }
  for (const line of held) print(line);
  return last;
}

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5_000;

/** Through lost connections: each goes on behind the last line that came. */
async function follow(read: Read, query: LogQuery, print: Print, { terminal, signal }: Context): Promise<void> {
  let next: LogQuery = { ...query, follow: true };
  for (let pause = FIRST_PAUSE_MS; !signal.aborted; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
    try {
      for await (const line of read(next)) {
        pause = FIRST_PAUSE_MS;
        next = { ...next, after: String(line.seq), tail: undefined, since: undefined };
        print(line);
      }
    } catch (error) {
      if (signal.aborted || !(error instanceof FabricError) || error.kind.status !== 503) throw error;
      terminal.warn(`the log stream broke off: ${error.message}; trying again`);
    }
    await wait(pause, undefined, { signal });
  }
}

const formatLine = (entry: LogEntry, { terminal: { paint } }: Context): string => {
  const colour = entry.gap ? paint.red : entry.source === "stderr" ? paint.yellow : (text: string) => text;
  const rank = entry.rank === undefined ? "" : `[${entry.rank}]`;
  return `${paint.dim(`${moment(entry.at).slice(11)} ${entry.fn || "-"}${rank}`)} ${colour(entry.text.trimEnd())}`;
};

/** APP, APP/FUNCTION or the id of an invocation. */
async function readerOf(
  target: string | undefined,
  options: LogsOptions,
  context: Context,
): Promise<{ read: Read; base: LogQuery; check?: () => Promise<void> }> {
  const client = context.client();
  const { signal } = context;
  const id = target?.startsWith("inv_") ? target : options.invocation;
  if (id !== undefined && options.tree) {
    const { app, root = id } = await client.invocation(id);
    return { read: (query) => client.logs(String(app), query, signal), base: { root: String(root) } };
  }
  if (options.tree) throw new UsageError("--tree needs an invocation's id");
  if (id !== undefined) return { read: (query) => client.invocationLogs(id, query, signal), base: {} };
  const [app, fn, ...rest] = target === undefined ? [await onlyApp(context)] : target.split("/");
  if (!app || fn === "" || rest.length > 0)
    throw new UsageError(`'${target}' is not APP, APP/FUNCTION or an invocation`);
  if (fn !== undefined && options.function !== undefined && fn !== options.function)
    throw new UsageError(`${target} and --function ${options.function} name two functions`);
  const name = fn ?? options.function;
  const read: Read = (query) => client.logs(app, query, signal);
  return { read, base: { function: name }, check: () => mustExist(context, app, name) };
}

async function mustExist(context: Context, app: string, fn: string | undefined): Promise<void> {
  const names = rowsOf((await context.client().app(app)).functions).map((row) => String(row.name));
  if (fn !== undefined && !names.includes(fn))
    fail("function_not_found", `app '${app}' has no function '${fn}'; it has ${names.join(", ")}`);
}

async function onlyApp(context: Context): Promise<string> {
  const apps = rowsOf(await context.client().apps()).map((row) => String(row.app ?? row.name));
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
