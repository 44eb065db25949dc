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
import { healthRoutes } from "./routes/health.ts";
import { invocationRoutes } from "./routes/invocations.ts";
import { logRoutes } from "./routes/logs.ts";
import { nodeRoutes } from "./routes/nodes.ts";
import { sourceRoutes } from "./routes/sources.ts";
import { tokenRoutes } from "./routes/tokens.ts";
import { tokenVerifier } from "./verify-token.ts";

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
  invocationRoutes(app, deps);
  appRoutes(app, deps);
  logRoutes(app, deps);
  sourceRoutes(app, deps);
  checkpointRoutes(app, deps);
  nodeRoutes(app, deps);
  tokenRoutes(app, deps, verifier);
  dashboardRoutes(app);
  healthRoutes(app, deps);
  app.openAPIRegistry.registerComponent("securitySchemes", "token", { type: "http", scheme: "bearer" });
  app.notFound((context) =>
    errorReply(
      new FabricError("route_not_found", `no route ${context.req.method} ${context.req.path.slice(0, 200)}`),
      deps.log,
    ),
  );
  app.onError((error) => errorReply(error, deps.log));
  return app;
}
