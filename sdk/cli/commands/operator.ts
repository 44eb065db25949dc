/** `fabric node`, `container` and `token`: the fabric itself. */
import type { Context } from "../context.ts";
import { bytes, moment, rowsOf, table } from "../table.ts";
import { seconds } from "./invocation.ts";

interface Json {
  json?: boolean;
}

/** Columns a person wants first; whatever else the gateway tells is in --json. */
async function show(body: unknown, columns: readonly string[], options: Json, { terminal }: Context): Promise<void> {
  if (options.json) return terminal.json(body);
  const rows = rowsOf(body).map((row) => ({
    ...row,
    cores: Number(row.cpuMillis) / 1000,
    memory: bytes(Number(row.memoryBytes)),
    gpus: Array.isArray(row.gpus) && row.gpus.length > 0 ? row.gpus : "none",
    created: moment(row.createdAt),
    expires: row.expiresAt ? moment(row.expiresAt) : "never",
  }));
  for (const line of table(rows, columns)) terminal.out(line);
}

export const nodes = async (options: Json, context: Context): Promise<void> =>
  show(await context.client().nodes(), ["id", "hostname", "engine", "cores", "memory", "gpus"], options, context);

export const containers = async (options: Json, context: Context): Promise<void> =>
  show(
    await context.client().containers(),
    ["container", "function", "node", "cores", "memory", "gpus"],
    options,
    context,
  );

export const tokens = async (options: Json, context: Context): Promise<void> =>
  show(await context.client().tokens(), ["id", "name", "created", "expires"], options, context);

export async function createToken(
  name: string,
  options: Json & { expiresIn?: string },
  { terminal, client }: Context,
): Promise<void> {
  const expires = options.expiresIn === undefined ? undefined : seconds(options.expiresIn);
  const made = await client().createToken(name, expires);
  if (options.json) return terminal.json(made);
  terminal.out(made.token);
  terminal.note(`token ${made.id}: it is shown only now`);
}

export async function revokeToken(id: string, options: Json, { terminal, client }: Context): Promise<void> {
  await client().revokeToken(id);
  if (options.json) terminal.json({ id, revoked: true });
  else terminal.out(`${id} is worthless now`);
}
