/** Routes of access tokens. */
import { z } from "@hono/zod-openapi";
import { fail } from "../../core/errors.ts";
import { defineRoute, type GatewayApp, type GatewayContext, jsonBody, param } from "../define-route.ts";
import type { GatewayDeps } from "../deps.ts";
import { createToken, listTokens, revokeToken } from "../tokens.ts";
import type { TokenVerifier } from "../verify-token.ts";

const quotaShape = {
  rate: z
    .string()
    .regex(/^[1-9]\d{0,5}\/[smhd]$/, "a number below a million and a unit of time (s, m, h, d) such as '100/s'")
    .optional()
    .openapi({ example: "100/s", description: "Calls, and inputs of maps, in a time" }),
  burst: z
    .number()
    .int()
    .min(1)
    .max(1_000_000)
    .optional()
    .openapi({ description: "How many of them at once after a quiet time; else as many as the rate counts" }),
  maxQueued: z
    .number()
    .int()
    .min(1)
    .max(10_000_000)
    .optional()
    .openapi({ description: "Calls, and inputs of maps, that were accepted and have not ended" }),
};

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
    ...quotaShape,
  })
  .strict()
  .refine(({ rate, burst }) => burst === undefined || rate !== undefined, {
    path: ["burst"],
    message: "it is how many calls of a rate may come at once: give a rate, too",
  });

/** Who could make tokens without a quota, or take others', would have none. */
function onlyWithoutQuota(context: GatewayContext): void {
  if (context.get("quota")) fail("forbidden", "a token with a quota makes and revokes no tokens");
}

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
        schema: z.object({ id: z.string(), token: z.string(), expiresAt: z.iso.datetime().optional(), ...quotaShape }),
      },
    },
    async (context) => {
      onlyWithoutQuota(context);
      return context.json(await createToken(deps, await jsonBody(context, createBody)), 201);
    },
  );
  defineRoute(
    app,
    { method: "get", path: "/v1/tokens", tag, summary: "List tokens, without their texts" },
    async (context) => context.json({ tokens: await listTokens(deps.objects) }),
  );
  defineRoute(app, { method: "delete", path: "/v1/tokens/{id}", tag, summary: "Revoke a token" }, async (context) => {
    onlyWithoutQuota(context);
    const id = param(context, "id");
    await revokeToken(deps.objects, id);
    verifier.forget();
    return context.json({ id, revoked: true });
  });
}
