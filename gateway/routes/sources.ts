/** Routes of source archives: upload, presence, and what they define. */
import { z } from "@hono/zod-openapi";
import { fail } from "../../core/errors.ts";
import { defineRoute, type GatewayApp, param, queryOf } from "../define-route.ts";
import type { GatewayDeps } from "../deps.ts";
import { describe } from "../describe.ts";
import { sourceKey, uploadSource } from "../upload-source.ts";

const ARCHIVE = { "application/gzip": z.string().openapi({ format: "binary" }) };
const describeQuery = z.object({ path: z.string().min(1).max(1024), python: z.string() });

export function sourceRoutes(app: GatewayApp, deps: GatewayDeps): void {
  const tag = "deploying";
  defineRoute(
    app,
    {
      method: "put",
      path: "/v1/sources/{sha256}",
      tag,
      summary: "Upload a source archive (tar.gz) under its sha256",
      body: ARCHIVE,
      reply: { what: "It was there already" },
      also: { 201: "Stored" },
    },
    async (context) => {
      const sha256 = param(context, "sha256");
      sourceKey(sha256);
      const { created, size } = await uploadSource(deps, sha256, context.req.raw);
      return context.json({ sha256, size, created }, created ? 201 : 200);
    },
  );
  defineRoute(
    app,
    { method: "get", path: "/v1/sources/{sha256}", tag, summary: "Is this source archive there? (HEAD works too)" },
    async (context) => {
      const sha256 = param(context, "sha256");
      const found = await deps.objects.head(sourceKey(sha256));
      if (!found) fail("source_not_found", `source ${sha256} was not uploaded`);
      return context.json({ sha256, size: found.size });
    },
  );
  defineRoute(
    app,
    {
      method: "post",
      path: "/v1/describe",
      tag,
      summary: "What an uploaded archive defines, found by importing it without network",
      query: describeQuery,
      body: ARCHIVE,
    },
    async (context) => context.json(await describe(deps, context.req.raw, queryOf(context, describeQuery))),
  );
}
