/** Routes of tags: names that point at one checkpoint of a series each. */
import { z } from "@hono/zod-openapi";
import { listTags, moveTag, readTag, tagKey, tagName } from "../../core/checkpoint-tag.ts";
import { fail } from "../../core/errors.ts";
import { defineRoute, type GatewayApp, jsonBody, param } from "../define-route.ts";
import type { GatewayDeps } from "../deps.ts";
import { seriesOf } from "../series-of.ts";

const tag = "checkpoints";
const path = "/v1/checkpoints/{series}/tags/{tag}";
const step = z.number().int().min(0).max(99_999_999);
const move = z
  .object({
    step,
    from: step.nullable().optional().describe("The step it has to point at until now, null for none; else 409"),
  })
  .strict();

export function tagRoutes(app: GatewayApp, { objects }: GatewayDeps): void {
  defineRoute(
    app,
    { method: "get", path: "/v1/checkpoints/{series}/tags", tag, summary: "The tags of a series" },
    async (context) => {
      const series = seriesOf(context);
      return context.json({ series, tags: await listTags(objects, series) });
    },
  );

  defineRoute(app, { method: "get", path, tag, summary: "Where a tag points" }, async (context) => {
    const series = seriesOf(context);
    const name = tagName(param(context, "tag"));
    const found = await readTag(objects, series, name);
    if (!found) fail("checkpoint_not_found", `the series '${series}' has no tag '${name}'`, { series, tag: name });
    const { etag: _, ...shown } = found;
    return context.json({ series, ...shown });
  });

  defineRoute(
    app,
    {
      ...{ method: "put", path, tag, summary: "Point a tag at a complete checkpoint" },
      body: { "application/json": move },
    },
    async (context) => {
      const series = seriesOf(context);
      const name = tagName(param(context, "tag"));
      return context.json({
        series,
        ...(await moveTag(objects, { series, name, ...(await jsonBody(context, move)) })),
      });
    },
  );

  defineRoute(
    app,
    { method: "delete", path, tag, summary: "Take a tag away; its checkpoint stays" },
    async (context) => {
      const series = seriesOf(context);
      const name = tagName(param(context, "tag"));
      await objects.delete(tagKey(series, name));
      return context.json({ series, name, deleted: true });
    },
  );
}
