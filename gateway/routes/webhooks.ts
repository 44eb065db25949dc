/** Routes of the secret that signs webhooks. */
import { z } from "@hono/zod-openapi";
import { fail } from "../../core/errors.ts";
import { defineRoute, type GatewayApp, type GatewayContext } from "../define-route.ts";
import type { GatewayDeps } from "../deps.ts";
import type { TokenVerifier } from "../verify-token.ts";

const secretSchema = z.object({ secret: z.string().openapi({ example: "whsec_..." }) });

export function webhookRoutes(app: GatewayApp, { webhookSecret }: GatewayDeps, verifier: TokenVerifier): void {
  const onlyAdmin = async (context: GatewayContext): Promise<void> => {
    const { who } = await verifier.verify(context.req.header("authorization"));
    if (who !== "admin") fail("forbidden", "the secret of webhooks is for the administrator's token only");
  };
  const tag = "webhooks";
  defineRoute(
    app,
    {
      method: "get",
      path: "/v1/webhooks/secret",
      tag,
      summary: "The secret that signs webhooks; only for the administrator's token",
      reply: { schema: secretSchema },
    },
    async (context) => {
      await onlyAdmin(context);
      return context.json({ secret: await webhookSecret.read() });
    },
  );
  defineRoute(
    app,
    {
      method: "post",
      path: "/v1/webhooks/secret/rotate",
      tag,
      summary: "Make another secret; the one before is worthless within 30 seconds",
      reply: { schema: secretSchema },
    },
    async (context) => {
      await onlyAdmin(context);
      return context.json({ secret: await webhookSecret.rotate() });
    },
  );
}
