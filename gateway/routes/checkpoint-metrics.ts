/** The route of a series' metrics. */
import { Readable } from "node:stream";
import { listMetricsParts, readMetricsLines } from "../../core/checkpoint-metrics.ts";
import { fail } from "../../core/errors.ts";
import { defineRoute, type GatewayApp } from "../define-route.ts";
import type { GatewayDeps } from "../deps.ts";
import { seriesOf } from "../series-of.ts";

export function metricsRoute(app: GatewayApp, { objects }: GatewayDeps): void {
  defineRoute(
    app,
    {
      method: "get",
      path: "/v1/checkpoints/{series}/metrics",
      tag: "checkpoints",
      summary:
        "Every row of metrics that was reported to a series, with or without a checkpoint, one JSON object a line",
      reply: { type: "application/x-ndjson" },
    },
    async (context) => {
      const series = seriesOf(context);
      const parts = await listMetricsParts(objects, series);
      if (parts.length === 0) fail("checkpoint_not_found", `the series '${series}' has no metrics`, { series });
      const body = Readable.toWeb(Readable.from(readMetricsLines(objects, parts), { objectMode: false }));
      return new Response(body as ReadableStream, { headers: { "Content-Type": "application/x-ndjson" } });
    },
  );
}
