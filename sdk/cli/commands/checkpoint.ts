/** `fabric checkpoint list|show|tag|untag|rm`: series, their checkpoints and tags, and one checkpoint's files. */
import type { CheckpointManifest } from "../../../core/checkpoint.ts";
import { NAME } from "../../../core/spec.ts";
import type { Client } from "../../typescript/client.ts";
import { type Context, UsageError } from "../context.ts";
import { bytes, cell, moment, rowsOf, table } from "../table.ts";
import { drawCurves } from "./checkpoint-metrics.ts";

interface Json {
  json?: boolean;
}

export async function list(series: string | undefined, options: Json, { terminal, client }: Context): Promise<void> {
  if (series === undefined) return listSeries(options, { terminal, client } as Context);
  const { checkpoints, tags = [] } = await client().checkpoints(series);
  if (options.json) return terminal.json({ checkpoints, tags });
  const rows = checkpoints.map((one) => ({
    step: one.step,
    created: moment(one.createdAt),
    files: one.files.length,
    size: bytes(sizeOf(one)),
    tags: tags.flatMap((tag) => (tag.step === one.step ? [tag.name] : [])).join(",") || undefined,
    metrics: one.metrics,
  }));
  const columns = ["step", "created", "files", "size", ...(tags.length > 0 ? ["tags"] : []), "metrics"];
  for (const line of table(rows, columns)) terminal.out(line);
}

async function listSeries(options: Json, { terminal, client }: Context): Promise<void> {
  const body = await client().series();
  if (options.json) return terminal.json(body);
  const rows = rowsOf(body).map((row) => ({ ...row, series: row.series ?? row.name }));
  if (rows.length === 0) return terminal.note("no checkpoint is saved yet");
  const known = ["series", "app", "fn", "checkpoints", "steps", "latest", "latestStep"];
  const columns = known.filter((column) => rows.some((row) => column in row));
  for (const line of table(rows, columns)) terminal.out(line);
}

export async function show(
  name: string,
  options: Json & { plot?: boolean | string; metric?: string },
  context: Context,
): Promise<void> {
  const { terminal, client } = context;
  const { series, step } = parseName(name);
  const manifest = await client().checkpoint(series, step);
  if (options.json) return terminal.json(manifest);
  terminal.out(`${manifest.series}:${manifest.step}  ${moment(manifest.createdAt)}  by ${manifest.invocation}`);
  for (const line of lineage(manifest)) terminal.out(line);
  for (const [metric, value] of Object.entries(manifest.metrics)) terminal.out(`  ${metric.padEnd(16)} ${cell(value)}`);
  for (const line of table(
    manifest.files.map((file) => ({ ...file, size: bytes(file.size) })),
    ["path", "size", "sha256"],
  ))
    terminal.out(line);
  const { plot, metric } = options;
  if (plot || metric !== undefined)
    await drawCurves(series, { metric, ...(typeof plot === "string" ? { file: plot } : {}) }, context);
}

/** Where it comes from; manifests of earlier versions say less. */
function lineage({ app, fn, version, generation, arguments: args, parents, keep }: CheckpointManifest): string[] {
  const digest = args && (args.sha256 ? `sha256 ${args.sha256}` : bytes(args.bytes));
  const called = args?.json === undefined ? digest : JSON.stringify(args.json);
  const from = parents?.map((parent) => `${parent.series}:${parent.step}`).join(", ");
  const best = keep?.attribute && `${keep.order ?? "max"} ${keep.attribute}`;
  const facts = { function: `${app}/${fn}`, version, attempt: generation, arguments: called, from, "best by": best };
  return Object.entries(facts).flatMap(([name, value]) =>
    value === undefined ? [] : [`  ${name.padEnd(16)} ${cell(value)}`],
  );
}

/** `fabric checkpoint tag SERIES:STEP NAME`; instead of the step, another tag or `best`. */
export async function tag(
  name: string,
  tagged: string,
  options: Json & { from?: string },
  { terminal, client }: Context,
): Promise<void> {
  const { series, step } = parseName(name);
  if (options.from !== undefined && !/^(none|\d{1,8})$/.test(options.from))
    throw new UsageError(`--from is '${options.from}'; it must be a step, or none`);
  const from = options.from === undefined ? undefined : options.from === "none" ? null : Number(options.from);
  const at = /^\d+$/.test(step) ? Number(step) : (await client().checkpoint(series, step)).step;
  const moved = await client().tagCheckpoint(series, tagged, at, from);
  if (options.json) return terminal.json(moved);
  const before = moved.previous === undefined || moved.previous === at ? "" : ` (before: ${moved.previous})`;
  terminal.out(`${series}:${tagged} -> ${series}:${at}${before}`);
}

export async function untag(name: string, options: Json, { terminal, client }: Context): Promise<void> {
  const { series, step } = parseName(name);
  if (!name.includes(":")) throw new UsageError(`'${name}' is not SERIES:TAG`);
  const gone = await client().untagCheckpoint(series, step);
  if (options.json) return terminal.json(gone);
  terminal.out(`${name} is no tag any more`);
}

export async function remove(name: string, options: Json, { terminal, client }: Context): Promise<void> {
  const { series, step } = parseName(name);
  if (!name.includes(":")) throw new UsageError(`'${name}' is not SERIES:STEP`);
  const gone = await client().removeCheckpoint(series, step);
  if (options.json) return terminal.json(gone);
  terminal.out(`${series}:${gone.step} is removed`);
}

/** SERIES[:STEP|TAG|latest|best]; without, the latest. */
export function parseName(name: string): { series: string; step: string } {
  const [series = "", step = "latest", ...rest] = name.split(":");
  if (series === "" || rest.length > 0 || !NAME.test(step))
    throw new UsageError(`'${name}' is not SERIES, SERIES:STEP or SERIES:TAG`);
  return { series, step: /^\d{1,8}$/.test(step) ? String(Number(step)) : step };
}

export const sizeOf = (manifest: CheckpointManifest): number =>
  manifest.files.reduce((sum, file) => sum + file.size, 0);

/** A loss is best when small, an accuracy when large: where the name does not tell, the user has to. */
export function bestOf(
  checkpoints: readonly CheckpointManifest[],
  metric: string,
  order: "max" | "min" | undefined,
): CheckpointManifest {
  const scored = checkpoints.flatMap((one) => {
    const value = one.metrics[metric];
    return typeof value === "number" && Number.isFinite(value) ? [{ one, value }] : [];
  });
  if (scored.length === 0) {
    const known = [...new Set(checkpoints.flatMap((one) => Object.keys(one.metrics)))].sort().join(", ");
    throw new UsageError(`no checkpoint has a number called '${metric}'; there are: ${known || "none"}`);
  }
  const sign = (order ?? guessOrder(metric)) === "max" ? 1 : -1;
  return scored.reduce((a, b) => ((sign * (b.value - a.value) || b.one.step - a.one.step) > 0 ? b : a)).one;
}

function guessOrder(metric: string): "max" | "min" {
  if (/loss|err|perplexity|mse|mae/i.test(metric)) return "min";
  if (/acc|f1|auc|score|reward|precision|recall|bleu/i.test(metric)) return "max";
  throw new UsageError(`is the best '${metric}' the largest or the smallest? Add --order max or --order min`);
}

export async function findCheckpoint(
  client: Client,
  name: string,
  options: { best?: string; order?: "max" | "min" },
): Promise<CheckpointManifest> {
  const { series, step } = parseName(name);
  if (options.best === undefined) return client.checkpoint(series, step);
  if (step !== "latest") throw new UsageError("give a step or --best, not both");
  return bestOf((await client.checkpoints(series)).checkpoints, options.best, options.order);
}
