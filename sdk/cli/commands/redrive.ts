/** `fabric invocation redrive`: runs again what failed, one by one or by app, function and time. */
import { asFabricError } from "../../../core/errors.ts";
import type { Client } from "../../typescript/client.ts";
import { type Context, UsageError } from "../context.ts";
import { EXIT_CODES } from "../exit-codes.ts";
import { rowsOf } from "../table.ts";
import { sinceMoment } from "./invocation.ts";

export interface RedriveOptions {
  app?: string;
  function?: string;
  since?: string;
  state: string;
  json?: boolean;
}

/** As many as one list answers; a further call of the command takes the next ones. */
const LIMIT = 1_000;
const AT_ONCE = 8;

interface Told {
  from: string;
  id?: string;
  created?: boolean;
  error?: unknown;
}

export async function redrive(ids: string[], options: RedriveOptions, context: Context): Promise<number> {
  const { terminal, signal } = context;
  const client = context.client();
  const left = ids.length > 0 ? [...ids] : await chosen(client, options);
  const told: Told[] = [];
  const count = left.length;
  const work = async (): Promise<void> => {
    for (let from = left.shift(); from !== undefined && !signal.aborted; from = left.shift()) {
      told.push(await one(client, from));
      terminal.status(`${told.length} of ${count}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  terminal.status(undefined);
  signal.throwIfAborted();
  if (options.json) terminal.json({ redriven: told });
  else if (count === 0) terminal.note("nothing to redrive");
  else for (const row of told) terminal.out(line(row));
  return told.some(({ error }) => error) ? EXIT_CODES.failed.code : EXIT_CODES.ok.code;
}

/** What has a successor already is left out: of a chain only the last one counts. */
async function chosen(client: Client, { app, function: fn, since, state }: RedriveOptions): Promise<string[]> {
  if (app === undefined && fn === undefined && since === undefined)
    throw new UsageError("name invocations, or choose with --app, --function or --since");
  const body = await client.invocations({ app, function: fn, state, since: sinceMoment(since), limit: LIMIT });
  return rowsOf(body)
    .filter(({ redrivenAs }) => redrivenAs === undefined)
    .map(({ id }) => String(id));
}

async function one(client: Client, from: string): Promise<Told> {
  try {
    const { id, created } = await client.redrive(from);
    return { from, id, created };
  } catch (thrown) {
    return { from, error: asFabricError(thrown).toBody() };
  }
}

function line({ from, id, created, error }: Told): string {
  if (error) return `${from} not redriven: ${(error as { message: string }).message}`;
  return `${from} -> ${id}${created ? "" : " (redriven before)"}`;
}
