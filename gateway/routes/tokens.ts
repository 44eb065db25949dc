/** Routes of access tokens. */
import { z } from "@hono/zod-openapi";
import { defineRoute, type GatewayApp, jsonBody, param } from "../define-route.ts";
import type { GatewayDeps } from "../deps.ts";
import { createToken, listTokens, revokeToken } from "../tokens.ts";
import type { TokenVerifier } from "../verify-token.ts";

const createBody = z
  .object({
    name: z
      .string()
      .min(1)
      .max(128)
      .regex(/^\P{Cc}+$/u, "no control characters"),
    expiresInSeconds: z
      .number()
      .int()
      .min(1)
      .max(10 * 366 * 86_400)
      .optional(),
  })
  .strict();

export function tokenRoutes(app: GatewayApp, deps: GatewayDeps, verifier: TokenVerifier): void {
  const tag = "tokens";
  defineRoute(
    app,
    {
      method: "post",
      path: "/v1/tokens",
      tag,
      summary: "Make a token; its text is shown only now",
      body: { "application/json": createBody },
      reply: {
        status: 201,
        schema: z.object({ id: z.string(), token: z.string(), expiresAt: z.iso.datetime().optional() }),
      },
    },
    async (context) => context.json(await createToken(deps, await jsonBody(context, createBody)), 201),
  );
  defineRoute(
    app,
    { method: "get", path: "/v1/tokens", tag, summary: "List tokens, without their texts" },
    async (context) => context.json({ tokens: await listTokens(deps.objects) }),
  );
  defineRoute(app, { method: "delete", path: "/v1/tokens/{id}", tag, summary: "Revoke a token" }, async (context) => {
    const id = param(context, "id");
    await revokeToken(deps.objects, id);
    verifier.forget();
    return context.json({ id, revoked: true });
  });
}
