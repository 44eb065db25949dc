/** The gateway as a hono app: routes, the guard in front of them, one form of error. It does not listen. */
import { OpenAPIHono } from "@hono/zod-openapi";
import { FabricError } from "../core/errors.ts";
import { authorize } from "./authorize.ts";
import type { GatewayApp, GatewayEnv } from "./define-route.ts";
import type { GatewayDeps } from "./deps.ts";
import { errorReply } from "./error-reply.ts";
import { appRoutes } from "./routes/apps.ts";
import { callRoutes } from "./routes/calls.ts";
import { checkpointRoutes } from "./routes/checkpoints.ts";
import { dashboardRoutes } from "./routes/dashboard.ts";
import { explainRoutes } from "./routes/explain.ts";
import { healthRoutes } from "./routes/health.ts";
import { imageRoutes } from "./routes/images.ts";
import { invocationRoutes } from "./routes/invocations.ts";
import { logRoutes } from "./routes/logs.ts";
import { mapRoutes } from "./routes/maps.ts";
import { nodeRoutes } from "./routes/nodes.ts";
import { scheduleRoutes } from "./routes/schedules.ts";
import { sourceRoutes } from "./routes/sources.ts";
import { tokenRoutes } from "./routes/tokens.ts";
import { uploadRoutes } from "./routes/uploads.ts";
import { webhookRoutes } from "./routes/webhooks.ts";
import { tokenVerifier } from "./verify-token.ts";

const METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE"];

/** A path that has other methods says which. */
function noSuchRoute(app: GatewayApp, { method, path }: { method: string; path: string }, { log }: GatewayDeps) {
  // Routes as GET carry HEAD; what matches any method is no route but what stands before all of them.
  const routes = (of: string): number => app.router.match(of === "HEAD" ? "GET" : of, path)[0].length;
  const allowed = METHODS.filter((one) => routes(one) > routes("OPTIONS"));
  const shown = path.slice(0, 200);
  if (allowed.length === 0) return errorReply(new FabricError("route_not_found", `no route ${method} ${shown}`), log);
  const allow = allowed.join(", ");
  const reply = errorReply(new FabricError("method_not_allowed", `${shown} takes ${allow}, not ${method}`), log);
  reply.headers.set("Allow", allow);
  return reply;
}

export function createApp(deps: GatewayDeps): GatewayApp {
  const app: GatewayApp = new OpenAPIHono<GatewayEnv>();
  const verifier = tokenVerifier(deps);
  app.use("*", async (context, next) => {
    await next();
    deps.metrics.replied(context.res.status);
  });
  // Before the routes, so that nobody learns without a token which ones exist.
  app.use("*", authorize(verifier));
  callRoutes(app, deps);
  uploadRoutes(app, deps);
  mapRoutes(app, deps);
  invocationRoutes(app, deps);
  explainRoutes(app, deps);
  appRoutes(app, deps);
  scheduleRoutes(app, deps);
  logRoutes(app, deps);
  sourceRoutes(app, deps);
  checkpointRoutes(app, deps);
  nodeRoutes(app, deps);
  imageRoutes(app, deps);
  tokenRoutes(app, deps, verifier);
  webhookRoutes(app, deps, verifier);
  dashboardRoutes(app);
  healthRoutes(app, deps);
  app.openAPIRegistry.registerComponent("securitySchemes", "token", { type: "http", scheme: "bearer" });
  app.notFound((context) => noSuchRoute(app, context.req, deps));
  app.onError((error) => errorReply(error, deps.log));
  return app;
}
