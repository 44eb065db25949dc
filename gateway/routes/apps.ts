/** Routes of apps and their versions. */
import { z } from "@hono/zod-openapi";
import { checkAppName } from "../../core/catalog.ts";
import { fail } from "../../core/errors.ts";
import { deploymentSchema, type VersionManifest } from "../../core/spec.ts";
import { checkDeployable, parseDeployment } from "../check-deployment.ts";
import { defineRoute, type GatewayApp, type GatewayContext, jsonBody, param, queryOf } from "../define-route.ts";
import { deleteApp } from "../delete-app.ts";
import { deploy, functionUrls } from "../deploy.ts";
import { deployEphemeral } from "../deploy-ephemeral.ts";
import type { GatewayDeps } from "../deps.ts";
import { lineStream } from "../line-stream.ts";
import { rollback } from "../rollback.ts";

const deployQuery = z.object({ ephemeral: z.enum(["true", "false"]).default("false") });
const rollbackBody = z.object({ version: z.coerce.string().optional() }).strict();

const eventSchema = z
  .union([
    z.object({ type: z.enum(["step", "log"]), text: z.string() }),
    z.object({
      type: z.literal("deployed"),
      app: z.string(),
      version: z.string(),
      unchanged: z.boolean(),
      urls: z.record(z.string(), z.string()),
    }),
    z.object({ type: z.literal("error"), error: z.unknown() }),
  ])
  .openapi("DeployEvent");

export function appRoutes(app: GatewayApp, deps: GatewayDeps): void {
  const tag = "apps";
  const urlOf = (context: GatewayContext, name: string) => (fn: string) =>
    `${deps.publicUrl || new URL(context.req.url).origin}/f/${name}/${fn}`;
  const show = (context: GatewayContext, { app: name, version, createdAt, functions, images }: VersionManifest) => ({
    app: name,
    version,
    createdAt,
    urls: functionUrls({ functions }, urlOf(context, name)),
    functions: functions.map((fn) => ({ ...fn, python: images[fn.image]?.spec.python })),
  });

  defineRoute(app, { method: "get", path: "/v1/apps", tag, summary: "List apps" }, async (context) => {
    const manifests = await Promise.all((await deps.registry.apps()).map((name) => deps.registry.current(name)));
    const apps = manifests.flatMap((manifest) => (manifest ? [show(context, manifest)] : []));
    return context.json({ apps });
  });

  defineRoute(app, { method: "get", path: "/v1/apps/{app}", tag, summary: "Show an app" }, async (context) =>
    context.json(show(context, await deps.catalog.manifest(param(context, "app")))),
  );

  defineRoute(
    app,
    { method: "delete", path: "/v1/apps/{app}", tag, summary: "Delete an app, its versions and its waiting calls" },
    async (context) => {
      const name = param(context, "app");
      return context.json({ app: name, cancelled: await deleteApp(deps, name) });
    },
  );

  deployRoute(app, deps, urlOf);
  versionRoutes(app, deps, show);
}

function deployRoute(
  app: GatewayApp,
  deps: GatewayDeps,
  urlOf: (context: GatewayContext, name: string) => (fn: string) => string,
): void {
  defineRoute(
    app,
    {
      method: "post",
      path: "/v1/apps/{app}/deployments",
      tag: "deploying",
      summary: "Build and publish a version; with ephemeral=true one that lives as long as this connection",
      query: deployQuery,
      body: { "application/json": deploymentSchema },
      reply: { type: "application/x-ndjson", schema: eventSchema, what: "Events, one a line" },
    },
    async (context) => {
      const name = param(context, "app");
      checkAppName(name);
      const { ephemeral } = queryOf(context, deployQuery);
      const deployment = parseDeployment(name, await jsonBody(context, z.unknown()));
      await checkDeployable(deps, deployment);
      const run = ephemeral === "true" ? deployEphemeral : deploy;
      return lineStream(deps, (out, signal) => run(deps, deployment, urlOf(context, name), out, signal));
    },
  );
}

function versionRoutes(
  app: GatewayApp,
  deps: GatewayDeps,
  show: (context: GatewayContext, manifest: VersionManifest) => object,
): void {
  const tag = "apps";
  defineRoute(
    app,
    { method: "get", path: "/v1/apps/{app}/versions", tag, summary: "List an app's versions, oldest first" },
    async (context) => {
      const { app: name, version: current } = await deps.catalog.manifest(param(context, "app"));
      const numbers = await deps.registry.versions(name);
      const manifests = await Promise.all(numbers.map((number) => deps.registry.version(name, number)));
      const versions = manifests.flatMap((manifest) =>
        manifest
          ? [{ version: manifest.version, createdAt: manifest.createdAt, current: manifest.version === current }]
          : [],
      );
      return context.json({ app: name, current, versions });
    },
  );
  defineRoute(
    app,
    { method: "get", path: "/v1/apps/{app}/versions/{version}", tag, summary: "A version's manifest" },
    async (context) => {
      const version = param(context, "version");
      if (version === "") fail("version_not_found", "the version is empty");
      return context.json(await deps.catalog.manifest(param(context, "app"), version));
    },
  );
  defineRoute(
    app,
    {
      method: "post",
      path: "/v1/apps/{app}/rollback",
      tag,
      summary: "Make an earlier version the current one; without a version, the one before",
      body: { "application/json": rollbackBody },
    },
    async (context) => {
      const { version } = await jsonBody(context, rollbackBody);
      return context.json(show(context, await rollback(deps, param(context, "app"), version)));
    },
  );
}
