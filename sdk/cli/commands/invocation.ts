/** `fabric invocation ...`: calls as they are recorded. */
import { type Answer, untilEnded } from "../../typescript/client.ts";
import { type Context, UsageError } from "../context.ts";
import { EXIT_CODES } from "../exit-codes.ts";
import { cell, moment, rowsOf, table } from "../table.ts";
import type { Terminal } from "../terminal.ts";

interface Json {
  json?: boolean;
}
const LONG_SECONDS = 30 * 86_400;

export async function list(
  options: Json & { app?: string; function?: string; limit?: string },
  { terminal, client }: Context,
): Promise<void> {
  const { app, function: fn, limit } = options;
  const body = await client().invocations({
    app,
    function: fn,
    limit: limit === undefined ? undefined : Number(limit),
  });
  if (options.json) return terminal.json(body);
  const rows = rowsOf(body).map((row) => ({
    ...row,
    function: `${cell(row.app)}/${cell(row.fn ?? row.function)}`,
    created: moment(row.createdAt),
  }));
  for (const line of table(rows, ["id", "function", "version", "state", "attempts", "created", "reason"]))
    terminal.out(line);
}

export async function show(id: string, options: Json, { terminal, client }: Context): Promise<void> {
  const record = await client().invocation(id);
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

export function seconds(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new UsageError(`${text} is not a number of seconds`);
  return value;
}
