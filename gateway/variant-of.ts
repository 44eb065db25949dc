/** The variant of a class that a request asks for: by query, or by headers for what has no place there. */
import type { Target } from "../core/catalog.ts";
import { parseJson } from "../core/decode-call.ts";
import { fail } from "../core/errors.ts";
import { resolveVariant } from "../core/resolve-variant.ts";
import type { GatewayContext } from "./define-route.ts";
import type { GatewayDeps } from "./deps.ts";

/** What a query says about the request itself. */
const OWN: ReadonlySet<string> = new Set(["version", "more"]);

/** A plain function has none: the same target. Throws as `resolveVariant`. */
export async function variantOf(deps: GatewayDeps, { req }: GatewayContext, target: Target): Promise<Target> {
  if (target.method === undefined) {
    if (req.header("fabric-parameters") !== undefined)
      fail(
        "invalid_parameters",
        `${target.name} is a function; only classes have parameters: put arguments into the body`,
      );
    return target;
  }
  const query = Object.fromEntries(Object.entries(req.query()).filter(([name]) => !OWN.has(name)));
  const headerObject = (name: string) => objectIn(name, req.header(name));
  const asked = { query, parameters: headerObject("fabric-parameters"), options: headerObject("fabric-options") };
  return resolveVariant(target, asked, () => deps.state.capacity.nodes());
}

function objectIn(header: string, text: string | undefined): Record<string, unknown> | undefined {
  if (text === undefined) return undefined;
  const value = parseJson(Buffer.from(text, "latin1"));
  if (typeof value !== "object" || value === null || Array.isArray(value))
    return fail("bad_request", `${header} is no JSON object`);
  return value as Record<string, unknown>;
}
