/** Routes of checkpoints: what exists, and their files. */
import { Readable } from "node:stream";
import { z } from "@hono/zod-openapi";
import { type CheckpointManifest, checkpointPrefix } from "../../core/checkpoint.ts";
import { findCheckpoint, listCheckpoints, listSeries } from "../../core/checkpoint-reader.ts";
import { listTags } from "../../core/checkpoint-tag.ts";
import { fail } from "../../core/errors.ts";
import { removeCheckpoint } from "../../core/remove-checkpoint.ts";
import { defineRoute, type GatewayApp, type GatewayContext, param, queryOf } from "../define-route.ts";
import type { GatewayDeps } from "../deps.ts";
import { byteRange } from "../range-header.ts";
import { seriesOf } from "../series-of.ts";
import { metricsRoute } from "./checkpoint-metrics.ts";
import { tagRoutes } from "./checkpoint-tags.ts";

const tag = "checkpoints";
const PRESIGNED_SECONDS = 3_600;
const fileQuery = z.object({ redirect: z.enum(["true", "false"]).default("false") });

type Find = (context: GatewayContext) => Promise<CheckpointManifest>;

export function checkpointRoutes(app: GatewayApp, deps: GatewayDeps): void {
  const find: Find = async (context) => {
    const series = seriesOf(context);
    const step = param(context, "step");
    const manifest = await findCheckpoint(deps.objects, series, step);
    return manifest ?? fail("checkpoint_not_found", `no complete checkpoint at ${series}/${step}`, { series, step });
  };
  listRoutes(app, deps);
  tagRoutes(app, deps);
  metricsRoute(app, deps);
  checkpointRoute(app, deps, find);
}

function listRoutes(app: GatewayApp, { objects }: GatewayDeps): void {
  defineRoute(app, { method: "get", path: "/v1/checkpoints", tag, summary: "List series" }, async (context) =>
    context.json({ series: await listSeries(objects) }),
  );

  defineRoute(
    app,
    {
      method: "get",
      path: "/v1/checkpoints/{series}",
      tag,
      summary: "The checkpoints of a series, by step, and its tags",
    },
    async (context) => {
      const series = seriesOf(context);
      const [checkpoints, tags] = await Promise.all([listCheckpoints(objects, series), listTags(objects, series)]);
      if (checkpoints.length === 0)
        fail("checkpoint_not_found", `series '${series}' has no complete checkpoint`, { series });
      return context.json({ series, checkpoints, tags });
    },
  );
}

function checkpointRoute(app: GatewayApp, { objects }: GatewayDeps, find: Find): void {
  defineRoute(
    app,
    {
      method: "get",
      path: "/v1/checkpoints/{series}/{step}",
      tag,
      summary: "A checkpoint's manifest; step may be 'latest', 'best' or a tag",
    },
    async (context) => context.json(await find(context)),
  );

  defineRoute(
    app,
    { method: "delete", path: "/v1/checkpoints/{series}/{step}", tag, summary: "Delete a checkpoint that has no tag" },
    async (context) => {
      const { series, step } = await find(context);
      await removeCheckpoint(objects, series, step);
      return context.json({ series, step, deleted: true });
    },
  );

  defineRoute(
    app,
    {
      method: "get",
      path: "/v1/checkpoints/{series}/{step}/files/{path}",
      tag,
      summary: "A file of a checkpoint; Range works, and redirect=true answers a presigned URL",
      query: fileQuery,
      reply: { type: "application/octet-stream" },
      also: { 206: "A part", 307: "To the presigned URL" },
    },
    async (context) => sendFile(objects, context, await find(context)),
  );
}

async function sendFile(
  objects: GatewayDeps["objects"],
  context: GatewayContext,
  manifest: CheckpointManifest,
): Promise<Response> {
  const path = param(context, "path");
  const file = manifest.files.find((one) => one.path === path);
  if (!file) fail("checkpoint_not_found", `the checkpoint has no file '${path.slice(0, 200)}'`);
  const key = checkpointPrefix(manifest.series, manifest.step) + file.path;
  if (queryOf(context, fileQuery).redirect === "true")
    return context.redirect(await objects.presignGet(key, PRESIGNED_SECONDS), 307);
  const range = byteRange(context.req.header("range"), file.size);
  const headers = { "Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", ETag: `"${file.sha256}"` };
  if (range === "unsatisfiable")
    return new Response(null, { status: 416, headers: { ...headers, "Content-Range": `bytes */${file.size}` } });
  const stored = await objects.get(key, range === "whole" ? {} : { range });
  if (!stored) fail("checkpoint_not_found", `the file '${path.slice(0, 200)}' is gone from the bucket`);
  const part: Record<string, string> =
    range === "whole" ? {} : { "Content-Range": `bytes ${range.start}-${range.end}/${file.size}` };
  return new Response(Readable.toWeb(stored.body) as ReadableStream, {
    status: range === "whole" ? 200 : 206,
    headers: { ...headers, ...part, "Content-Length": String(stored.length) },
  });
}
