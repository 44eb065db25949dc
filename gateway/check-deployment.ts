/** Checks a deployment before anything is built: its form, its names, its source, and that some node could run it. */
import type { z } from "zod";
import { fail } from "../core/errors.ts";
import { neverFits } from "../core/fits-node.ts";
import { inWords, problemsOf } from "../core/problems.ts";
import { type Deployment, deploymentSchema, FUNCTION_NAME, type FunctionSpec } from "../core/spec.ts";
import type { GatewayDeps } from "./deps.ts";
import { hasSource } from "./upload-source.ts";

/** Pure: the form and what must agree within it. Images that no function uses are left out. */
export function parseDeployment(app: string, body: unknown): Deployment {
  const read = deploymentSchema.safeParse(body);
  if (!read.success) refuse(read.error, body);
  const deployment = read.data;
  if (deployment.app !== app) fail("bad_request", `the body deploys '${deployment.app}', the URL names '${app}'`);
  const names = new Set<string>();
  for (const fn of deployment.functions) {
    const { name, image, schedule, parameters } = fn;
    for (const called of [name, ...methodNames(fn)]) {
      if (names.has(called)) fail("function_duplicate", `two functions are named '${called}'`, { function: called });
      if (!FUNCTION_NAME.test(called)) fail("invalid_name", `'${called}' is no function name`, { function: called });
      names.add(called);
    }
    checkClass(fn);
    if (!Object.hasOwn(deployment.images, image))
      fail("image_spec_invalid", `function '${name}' uses image '${image}', which the deployment does not describe`);
    const needed = schedule && parameters?.find(({ required }) => required);
    if (needed)
      fail(
        "bad_request",
        `function '${name}' has a schedule, which calls it without arguments, but needs '${needed.name}'`,
      );
  }
  const used = new Set(deployment.functions.map(({ image }) => image));
  const images = Object.fromEntries(Object.entries(deployment.images).filter(([key]) => used.has(key)));
  return { ...deployment, images };
}

const methodNames = ({ name, class: cls }: FunctionSpec): string[] =>
  (cls?.methods ?? []).map((method) => `${name}.${method.name}`);

/** A container's slots are those of one batch: another method would take them. */
function checkClass({ name, class: cls, schedule }: FunctionSpec): void {
  if (cls && schedule) fail("bad_request", `class '${name}' has a schedule; only functions can have one`);
  if (cls && cls.methods.length > 1 && cls.methods.some(({ batched }) => batched))
    fail("bad_request", `class '${name}' has a batched method, so that it can have no other methods`);
}

function refuse(error: z.ZodError, body: unknown): never {
  const issues = problemsOf(error, body);
  const [top, , field] = error.issues[0]!.path;
  const code =
    top === "images"
      ? "image_spec_invalid"
      : top === "app" || (top === "functions" && field === "name")
        ? "invalid_name"
        : "bad_request";
  return fail(code, inWords(issues[0]!), { issues });
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
