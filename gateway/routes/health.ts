/** Routes for those who watch the gateway itself: health, metrics, its own description. */
import { asFabricError } from "../../core/errors.ts";
import { defineRoute, type GatewayApp } from "../define-route.ts";
import type { GatewayDeps } from "../deps.ts";

export function healthRoutes(app: GatewayApp, { state, objects, metrics }: GatewayDeps): void {
  const tag = "health";
  defineRoute(
    app,
    { method: "get", path: "/healthz", tag, summary: "The process answers (no token needed)" },
    (context) => context.json({ ok: true }),
  );
  defineRoute(
    app,
    {
      method: "get",
      path: "/readyz",
      tag,
      summary: "Redis and S3 answer (no token needed)",
      also: { 503: "One of them does not" },
    },
    async (context) => {
      const [redis, s3] = await Promise.all([verdict(state.ping()), verdict(objects.ping())]);
      const ready = redis === "ok" && s3 === "ok";
      return context.json({ ready, redis, s3 }, ready ? 200 : 503, ready ? {} : { "Retry-After": "2" });
    },
  );
  defineRoute(
    app,
    { method: "get", path: "/metrics", tag, summary: "For Prometheus", reply: { type: "text/plain" } },
    async (context) => context.body(await metrics.text(), 200, { "Content-Type": metrics.contentType }),
  );
  defineRoute(app, { method: "get", path: "/openapi.json", tag, summary: "This description" }, (context) =>
    context.json(openApiDocument(app)),
  );
}

/** Only the code: this route is open, and messages name hosts. */
const verdict = (ping: Promise<void>): Promise<string> =>
  ping.then(
    () => "ok",
    (error: unknown) => asFabricError(error).code,
  );

export const openApiDocument = (app: GatewayApp): object =>
  app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "fabric",
      version: "1",
      description:
        "Self-hosted serverless functions. Every route but those of health and the dashboard's shell needs a token.",
    },
    security: [{ token: [] }],
  });
