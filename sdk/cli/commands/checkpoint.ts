/** `fabric checkpoint list|show`: series, their checkpoints, and one checkpoint's files. */
import type { CheckpointManifest } from "../../../core/checkpoint.ts";
import type { Client } from "../../typescript/client.ts";
import { type Context, UsageError } from "../context.ts";
import { bytes, cell, moment, rowsOf, table } from "../table.ts";

interface Json {
  json?: boolean;
}

export async function list(series: string | undefined, options: Json, { terminal, client }: Context): Promise<void> {
  if (series === undefined) return listSeries(options, { terminal, client } as Context);
  const checkpoints = await client().checkpoints(series);
  if (options.json) return terminal.json({ checkpoints });
  const rows = checkpoints.map((one) => ({
    step: one.step,
    created: moment(one.createdAt),
    files: one.files.length,
    size: bytes(sizeOf(one)),
    metrics: one.metrics,
  }));
  for (const line of table(rows, ["step", "created", "files", "size", "metrics"])) terminal.out(line);
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

export async function show(name: string, options: Json, { terminal, client }: Context): Promise<void> {
  const { series, step } = parseName(name);
  const manifest = await client().checkpoint(series, step);
  if (options.json) return terminal.json(manifest);
  terminal.out(`${manifest.series}:${manifest.step}  ${moment(manifest.createdAt)}  by ${manifest.invocation}`);
  for (const [metric, value] of Object.entries(manifest.metrics)) terminal.out(`  ${metric.padEnd(16)} ${cell(value)}`);
  for (const line of table(
    manifest.files.map((file) => ({ ...file, size: bytes(file.size) })),
    ["path", "size", "sha256"],
  ))
    terminal.out(line);
}

/** SERIES[:STEP]; without a step, the latest. */
export function parseName(name: string): { series: string; step: string } {
  const [series = "", step = "latest", ...rest] = name.split(":");
  if (series === "" || rest.length > 0 || !/^(latest|\d{1,8})$/.test(step))
    throw new UsageError(`'${name}' is not SERIES or SERIES:STEP`);
  return { series, step: step === "latest" ? step : String(Number(step)) };
}

export const sizeOf = (manifest: CheckpointManifest): number =>
  manifest.files.reduce((sum, file) => sum + file.size, 0);

/** A loss is best when small, an accuracy when large: where the name does not tell, the user has to. */
export function bestOf(
  checkpoints: readonly CheckpointManifest[],
  metric: string,
  order: "max" | "min" | undefined,
): CheckpointManifest {
  const sign = (order ?? guessOrder(metric)) === "max" ? 1 : -1;
  const scored = checkpoints.flatMap((one) => {
    const value = one.metrics[metric];
    return typeof value === "number" && Number.isFinite(value) ? [{ one, score: sign * value }] : [];
  });
  const best = scored.sort((a, b) => b.score - a.score || b.one.step - a.one.step)[0];
  if (best) return best.one;
  const known = [...new Set(checkpoints.flatMap((one) => Object.keys(one.metrics)))].join(", ");
  throw new UsageError(`no checkpoint has a number called '${metric}'; there are: ${known || "none"}`);
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
  return bestOf(await client.checkpoints(series), options.best, options.order);
}
