/** Routes of uploads: large inputs on their way into the bucket. */
import { z } from "@hono/zod-openapi";
import { defineRoute, type GatewayApp, jsonBody, param } from "../define-route.ts";
import type { GatewayDeps } from "../deps.ts";
import { completeUpload, MOST_UPLOAD_BYTES, startUpload, uploadSchema } from "../uploads.ts";

const startBody = z.object({ size: z.number().int().min(1).max(MOST_UPLOAD_BYTES) }).strict();
const completeBody = z
  .object({
    upload: z.string().min(1).max(1024),
    parts: z
      .array(z.object({ number: z.number().int().min(1).max(10_000), etag: z.string().min(1).max(256) }).strict())
      .min(1)
      .max(10_000),
  })
  .strict();

export function uploadRoutes(app: GatewayApp, { uploads }: GatewayDeps): void {
  const tag = "calls";
  defineRoute(
    app,
    {
      method: "post",
      path: "/v1/uploads",
      tag,
      summary: "Begin the upload of a large input: URLs to PUT its bytes to, without a token",
      body: { "application/json": startBody },
      reply: { status: 201, schema: uploadSchema },
    },
    async (context) => {
      const { size } = await jsonBody(context, startBody);
      return context.json(await startUpload(uploads, size), 201);
    },
  );
  defineRoute(
    app,
    {
      method: "post",
      path: "/v1/uploads/{id}/complete",
      tag,
      summary: "Put the parts of an upload together",
      body: { "application/json": completeBody },
      reply: { schema: z.object({ id: z.string() }) },
    },
    async (context) => {
      const id = param(context, "id");
      const { upload, parts } = await jsonBody(context, completeBody);
      await completeUpload(uploads, id, upload, parts);
      return context.json({ id });
    },
  );
}
