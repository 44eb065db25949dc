/** Lets nobody through without a token, except to the few routes that are listed here. */
import type { MiddlewareHandler } from "hono";
import type { GatewayEnv } from "./define-route.ts";
import type { TokenVerifier } from "./verify-token.ts";

/** GET only. The dashboard's shell holds no data: its script asks for a token and sends it. */
export const OPEN_ROUTES: ReadonlySet<string> = new Set([
  "/healthz",
  "/readyz",
  "/",
  "/dashboard/app.js",
  "/dashboard/style.css",
]);

export const authorize =
  (verifier: TokenVerifier): MiddlewareHandler<GatewayEnv> =>
  async (context, next) => {
    const { method, path } = context.req;
    if (!((method === "GET" || method === "HEAD") && OPEN_ROUTES.has(path))) {
      const { quota } = await verifier.verify(context.req.header("authorization"));
      if (quota) context.set("quota", quota);
    }
    await next();
  };
