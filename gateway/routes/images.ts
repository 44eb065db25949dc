/** Routes of environment images: those of the gateway's own node, and those in the bucket. */
import { z } from "@hono/zod-openapi";
import { collectImages, unneeded, versionsByImage } from "../../core/collect-images.ts";
import { collectStoredImages, unneededStored } from "../collect-stored-images.ts";
import { defineRoute, type GatewayApp, jsonBody } from "../define-route.ts";
import type { GatewayDeps } from "../deps.ts";

/** What somebody deploys just now is not pruned. */
const LEAST_AGE_MS = 3_600_000;

const imageSchema = z.object({
  image: z.string(),
  bytes: z.number().int().optional().openapi({ description: "With the layers that others have, too" }),
  neededBy: z.array(z.string()).openapi({ description: "Versions, as `app@version`" }),
  unneededSince: z.iso.datetime().optional(),
});
const pruneBody = z.object({ dryRun: z.boolean().default(false) }).strict();
const pruned = z.object({
  images: z.array(z.string()).openapi({ description: "Removed from the gateway's node" }),
  stored: z.array(z.string()).openapi({ description: "Keys removed from the bucket" }),
});

export function imageRoutes(app: GatewayApp, deps: GatewayDeps): void {
  const tag = "images";
  defineRoute(
    app,
    {
      ...{ method: "get", path: "/v1/images", tag, summary: "Images on the gateway's node, and what needs them" },
      reply: { schema: z.object({ images: z.array(imageSchema) }) },
    },
    async (context) => {
      const [kept, versions] = await Promise.all([deps.shelf.kept(), versionsByImage(deps)]);
      const ages = await deps.state.images.unneededMs(kept.map(({ ref }) => ref));
      const images = kept.map(({ ref, bytes }, at) => {
        const neededBy = versions.get(ref) ?? [];
        const since = new Date(deps.clock.now() - ages[at]!).toISOString();
        return { image: ref, bytes, neededBy, ...(neededBy.length > 0 ? {} : { unneededSince: since }) };
      });
      return context.json({ images });
    },
  );
  defineRoute(
    app,
    {
      ...{ method: "post", path: "/v1/images/prune", tag },
      summary: "Remove images that no version needs and nobody has for an hour, from the gateway's node and the bucket",
      body: { "application/json": pruneBody },
      reply: { schema: pruned },
    },
    async (context) => {
      const { dryRun } = await jsonBody(context, pruneBody);
      const refs = (await deps.shelf.kept()).map(({ ref }) => ref);
      const [images, stored] = dryRun
        ? [await unneeded(deps, refs, LEAST_AGE_MS), await unneededStored(deps, LEAST_AGE_MS)]
        : [await collectImages(deps, LEAST_AGE_MS), await collectStoredImages(deps, LEAST_AGE_MS)];
      return context.json({ images, stored });
    },
  );
}
