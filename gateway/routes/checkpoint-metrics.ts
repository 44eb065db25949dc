/** The route of a series' metrics. */
import { Readable } from "node:stream";
import { z } from "@hono/zod-openapi";
import { listMetricsParts, type MetricsRow, readMetricsLines } from "../../core/checkpoint-metrics.ts";
import { fail } from "../../core/errors.ts";
import { defineRoute, type GatewayApp, queryOf } from "../define-route.ts";
import type { GatewayDeps } from "../deps.ts";
import { seriesOf } from "../series-of.ts";

const query = z.object({
  rank: z
    .string()
    .regex(/^(all|\d{1,6})$/)
    .optional()
    .openapi({ description: "Rows of this rank, or of 'all', each with its rank; without it, rank 0's as they are" }),
});

export function metricsRoute(app: GatewayApp, { objects }: GatewayDeps): void {
  defineRoute(
    app,
    {
      method: "get",
      path: "/v1/checkpoints/{series}/metrics",
      tag: "checkpoints",
      summary:
        "Every row of metrics that was reported to a series, with or without a checkpoint, one JSON object a line",
      query,
      reply: { type: "application/x-ndjson" },
    },
    async (context) => {
      const series = seriesOf(context);
      const { rank } = queryOf(context, query);
      const parts = await listMetricsParts(objects, series);
      const wanted = parts.filter(({ ofRanks }) => rank === "all" || ofRanks === Number(rank ?? 0) > 0);
      if (wanted.length === 0) {
        const of =
          rank === undefined || parts.length === 0 ? "" : ` of rank ${rank}: metrics_per_rank was not asked for`;
        fail("checkpoint_not_found", `the series '${series}' has no metrics${of}`, { series });
      }
      const lines = readMetricsLines(objects, wanted);
      const rows = rank === undefined ? lines : ofRank(lines, rank);
      const body = Readable.toWeb(Readable.from(rows, { objectMode: false }));
      return new Response(body as ReadableStream, { headers: { "Content-Type": "application/x-ndjson" } });
    },
  );
}

async function* ofRank(parts: AsyncIterable<string>, wanted: string): AsyncIterable<string> {
  for await (const lines of parts) {
    const rows = lines.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line) as MetricsRow]));
    for (const { rank = 0, ...row } of rows)
      if (wanted === "all" || rank === Number(wanted)) yield `${JSON.stringify({ rank, ...row })}\n`;
  }
}
