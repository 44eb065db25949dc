/** `fabric checkpoint metrics`, and the curves of `checkpoint show --plot`. */
import { writeFile } from "node:fs/promises";
import type { MetricsRow } from "../../../core/checkpoint-metrics.ts";
import type { Client } from "../../typescript/client.ts";
import { type Curve, chart } from "../chart/chart.ts";
import { type Context, UsageError } from "../context.ts";
import { plot } from "../plot.ts";
import { moment, table } from "../table.ts";

export async function metrics(
  series: string,
  options: { json?: boolean; rank?: string },
  { terminal, client }: Context,
): Promise<void> {
  const rows = await all(client(), series, options.rank);
  if (options.json) return terminal.json({ series, rows });
  const names = [...new Set(rows.flatMap((row) => Object.keys(row.metrics)))];
  const shown = rows.map((row) => ({
    ...row.metrics,
    ...{ step: row.step, at: moment(row.at), saved: row.checkpoint ? "yes" : "-" },
    ...(options.rank === undefined ? {} : { rank: row.rank }),
  }));
  const own = ["step", ...(options.rank === undefined ? [] : ["rank"]), "at", "saved"];
  for (const line of table(shown, [...own, ...names.filter((name) => !own.includes(name))])) terminal.out(line);
}

async function all(client: Client, series: string, rank?: string): Promise<MetricsRow[]> {
  const rows: MetricsRow[] = [];
  for await (const row of client.checkpointMetrics(series, rank)) rows.push(row);
  return rows;
}

/** One curve for each metric that is a number; a step that was reported again counts as it was reported last. */
export function curves(rows: readonly MetricsRow[], only: string | undefined): Curve[] {
  const byMetric = new Map<string, Map<number, number>>();
  for (const { step, metrics } of rows)
    for (const [name, value] of Object.entries(metrics)) {
      if (typeof value !== "number" || (only !== undefined && name !== only)) continue;
      byMetric.set(name, (byMetric.get(name) ?? new Map()).set(step, value));
    }
  return [...byMetric].map(([metric, values]) => ({
    metric,
    points: [...values].map(([x, y]) => ({ x, y })).sort((a, b) => a.x - b.x),
  }));
}

/** In the terminal, or into a picture. */
export async function drawCurves(
  series: string,
  { metric: only, file }: { metric?: string; file?: string },
  { terminal, client }: Context,
) {
  if (file !== undefined && !file.toLowerCase().endsWith(".png"))
    throw new UsageError(`--plot is '${file}'; it must be the name of a .png, or stand alone for the terminal`);
  const drawn = curves(await all(client(), series), only);
  if (drawn.length === 0)
    throw new UsageError(
      `the series '${series}' has no number${only === undefined ? "" : ` called '${only}'`} to draw`,
    );
  if (file !== undefined) {
    await writeFile(file, chart(series, drawn));
    return terminal.note(`${file}: ${drawn.map(({ metric }) => metric).join(", ")}`);
  }
  const width = Math.min(process.stdout.columns ?? 80, 120);
  for (const { metric, points } of drawn) {
    terminal.out("");
    terminal.out(terminal.paint.bold(metric));
    for (const line of plot(points, { width })) terminal.out(line);
  }
}
