/** `fabric node`, `container`, `image`, `webhook` and `token`: the fabric itself. */
import { fail } from "../../../core/errors.ts";
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
    rate: row.rate ?? "",
    burst: row.burst ?? "",
    "max queued": row.maxQueued ?? "",
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
  show(
    await context.client().tokens(),
    ["id", "name", "created", "expires", "rate", "burst", "max queued"],
    options,
    context,
  );

export const images = async (options: Json, context: Context): Promise<void> => {
  const { images } = await context.client().images();
  if (options.json) return context.terminal.json({ images });
  const rows = images.map(({ image, bytes: size, neededBy, unneededSince }) => ({
    image: image.replace(/^sha256:(.{12}).*$/, "$1"),
    size: size === undefined ? "-" : bytes(size),
    "needed by": neededBy.length > 0 ? neededBy : `nothing, since ${moment(unneededSince)}`,
  }));
  for (const line of table(rows, ["image", "size", "needed by"])) context.terminal.out(line);
};

export async function pruneImages(options: Json & { dryRun?: boolean }, { terminal, client }: Context): Promise<void> {
  const answer = await client().pruneImages(options.dryRun === true);
  if (options.json) return terminal.json(answer);
  for (const name of [...answer.images, ...answer.stored]) terminal.out(name);
  const what = `${answer.images.length} images and ${answer.stored.length} objects of the bucket`;
  terminal.note(options.dryRun ? `${what} would be removed` : `removed ${what}`);
}

export async function webhookSecret(
  options: Json & { rotate?: boolean },
  { terminal, client }: Context,
): Promise<void> {
  const answer = await client().webhookSecret(options.rotate === true);
  if (options.json) terminal.json(answer);
  else terminal.out(answer.secret);
}

function whole(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  return /^\d{1,9}$/.test(text)
    ? Number(text)
    : fail("bad_request", `${option} is '${text}'; it must be a whole number`);
}

export async function createToken(
  name: string,
  options: Json & { expiresIn?: string; rate?: string; burst?: string; maxQueued?: string },
  { terminal, client }: Context,
): Promise<void> {
  const made = await client().createToken(name, {
    expiresInSeconds: options.expiresIn === undefined ? undefined : seconds(options.expiresIn),
    rate: options.rate,
    burst: whole("--burst", options.burst),
    maxQueued: whole("--max-queued", options.maxQueued),
  });
  if (options.json) return terminal.json(made);
  terminal.out(made.token);
  terminal.note(`token ${made.id}: it is shown only now`);
}

export async function revokeToken(id: string, options: Json, { terminal, client }: Context): Promise<void> {
  await client().revokeToken(id);
  if (options.json) terminal.json({ id, revoked: true });
  else terminal.out(`${id} is worthless now`);
}
