/** `fabric invocation ...`: calls as they are recorded. */
import type { Answer } from "../../typescript/client.ts";
import { untilEnded } from "../../typescript/until-ended.ts";
import { type Context, UsageError } from "../context.ts";
import { EXIT_CODES } from "../exit-codes.ts";
import { cell, moment, rowsOf, table } from "../table.ts";
import type { Terminal } from "../terminal.ts";

interface Json {
  json?: boolean;
}
const LONG_SECONDS = 30 * 86_400;

export async function list(
  options: Json & { app?: string; function?: string; state?: string; since?: string; parent?: string; limit?: string },
  { terminal, client }: Context,
): Promise<void> {
  const { app, function: fn, state, since, parent, limit } = options;
  const body = await client().invocations({
    app,
    function: fn,
    state,
    since: sinceMoment(since),
    parent,
    limit: limit === undefined ? undefined : Number(limit),
  });
  if (options.json) return terminal.json(body);
  const rows = rowsOf(body).map((row) => ({
    ...row,
    function: `${cell(row.app)}/${cell(row.fn ?? row.function)}`,
    created: moment(row.createdAt),
    reason: row.reason ?? (row.error as { code?: string } | undefined)?.code,
  }));
  for (const line of table(rows, ["id", "function", "version", "state", "attempts", "created", "reason"]))
    terminal.out(line);
}

export async function show(
  id: string,
  options: Json & { input?: string },
  { terminal, client }: Context,
): Promise<void> {
  const api = client();
  const record = await (options.input === undefined ? api.invocation(id) : api.input(id, options.input));
  if (options.json) return terminal.json(record);
  for (const [name, value] of Object.entries(record))
    terminal.out(`${name.padEnd(18)} ${name.endsWith("At") ? moment(value) : cell(value)}`);
}

export async function result(
  id: string,
  options: Json & { wait?: string },
  { terminal, client, signal }: Context,
): Promise<number> {
  const api = client();
  const wait = options.wait === undefined ? LONG_SECONDS : seconds(options.wait);
  const first = await api.result(id, 0, signal);
  const onPending = (pending: { reason?: string; state: string }): void =>
    terminal.status(pending.reason ?? pending.state);
  const answer = await untilEnded(api, first, wait, onPending, signal);
  terminal.status(undefined);
  return printAnswer(answer, terminal);
}

export async function cancel(id: string, options: Json, { terminal, client }: Context): Promise<void> {
  const answer = await client().cancel(id);
  if (options.json) terminal.json(answer);
  else terminal.out(`${answer.id} is ${answer.state}`);
}

export function printAnswer(answer: Answer, terminal: Terminal): number {
  if ("result" in answer) {
    terminal.json(answer.result);
    return EXIT_CODES.ok.code;
  }
  terminal.json(answer);
  terminal.note(`not ended yet; later: fabric invocation result ${answer.id}`);
  return EXIT_CODES.pending.code;
}

const UNITS: Record<string, number> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** `2h` is two hours ago; everything else is a date as JavaScript reads it. */
export function sinceMoment(text: string | undefined, now = Date.now()): string | undefined {
  if (text === undefined) return undefined;
  const [, count, unit] = /^(\d+(?:\.\d+)?)([smhd])$/.exec(text) ?? [];
  const at = unit ? now - Number(count) * UNITS[unit]! * 1000 : Date.parse(text);
  if (!Number.isFinite(at)) throw new UsageError(`${text} is neither like 90s, 15m, 2h, 7d nor a date`);
  return new Date(at).toISOString();
}

/** Of a priority: seconds, also less than none. */
export const headStart = (text: string): number => (text.startsWith("-") ? -seconds(text.slice(1)) : seconds(text));

export function seconds(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new UsageError(`${text} is not a number of seconds`);
  return value;
}
