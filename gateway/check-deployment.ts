/** Checks a deployment before anything is built: its form, its names, its source, and that some node could run it. */
import type { z } from "zod";
import { fail } from "../core/errors.ts";
import { type Deployment, deploymentSchema } from "../core/spec.ts";
import type { GatewayDeps } from "./deps.ts";
import { neverFits } from "./fits-node.ts";
import { hasSource } from "./upload-source.ts";

/** Pure: the form and what must agree within it. Images that no function uses are left out. */
export function parseDeployment(app: string, body: unknown): Deployment {
  const read = deploymentSchema.safeParse(body);
  if (!read.success) refuse(read.error);
  const deployment = read.data;
  if (deployment.app !== app) fail("bad_request", `the body deploys '${deployment.app}', the URL names '${app}'`);
  const names = new Set<string>();
  for (const { name, image } of deployment.functions) {
    if (names.has(name)) fail("function_duplicate", `two functions are named '${name}'`, { function: name });
    names.add(name);
    if (!Object.hasOwn(deployment.images, image))
      fail("image_spec_invalid", `function '${name}' uses image '${image}', which the deployment does not describe`);
  }
  const used = new Set(deployment.functions.map(({ image }) => image));
  const images = Object.fromEntries(Object.entries(deployment.images).filter(([key]) => used.has(key)));
  return { ...deployment, images };
}

function refuse(error: z.ZodError): never {
  const issues = error.issues.slice(0, 10).map(({ path, message }) => ({ field: path.join("."), message }));
  const first = error.issues[0]!;
  const [top, , field] = first.path;
  const code =
    top === "images"
      ? "image_spec_invalid"
      : top === "app" || (top === "functions" && field === "name")
        ? "invalid_name"
        : "bad_request";
  return fail(code, `${issues[0]!.field || "the body"}: ${first.message}`, { issues });
}

export async function checkDeployable(
  deps: Pick<GatewayDeps, "objects" | "state">,
  deployment: Deployment,
): Promise<void> {
  if (!(await hasSource(deps, deployment.source)))
    fail("source_not_found", `source ${deployment.source} was not uploaded`, { source: deployment.source });
  const nodes = await deps.state.capacity.nodes();
  const misfits = neverFits(deployment.functions, nodes);
  if (misfits.length > 0)
    fail("resources_unavailable", `no node is large enough: ${misfits.slice(0, 5).join("; ")}`, { misfits });
}
