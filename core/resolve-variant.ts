/** Which values and options of a class a call asks for: from its query and headers to a target with its own pool. */

import type { NodeFacts } from "./capacity-ledger.ts";
import type { Target } from "./catalog.ts";
import { fail } from "./errors.ts";
import { neverFits } from "./fits-node.ts";
import { isGang } from "./gang.ts";
import { functionKey } from "./invocation.ts";
import type { FunctionSpec } from "./spec.ts";
import {
  fitParameters,
  fromText,
  type Overrides,
  overridesSchema,
  poolName,
  type Variant,
  variantText,
} from "./variant.ts";

export interface AskedVariant {
  /** The URL's, less what every call may have there. */
  query?: Readonly<Record<string, string>>;
  parameters?: Readonly<Record<string, unknown>>;
  options?: Readonly<Record<string, unknown>>;
}

/** Of calls that name the variant, so that its text and hash are made once. */
const MAX_REMEMBERED = 1_000;
const remembered = new WeakMap<Target, Map<string, Target>>();

/**
 * Throws `invalid_parameters`, `bad_request`, or `resources_unavailable` where no node could ever hold the options, or a gang:
 * nodes may have gone since it was deployed.
 */
export async function resolveVariant(
  target: Target,
  asked: AskedVariant,
  nodes: () => Promise<NodeFacts[]>,
): Promise<Target> {
  if (isGang(target.spec)) await refuseMisfit(target, nodes);
  if (target.method === undefined) return target;
  const key = JSON.stringify([asked.query, asked.parameters, asked.options]);
  const known = remembered.get(target) ?? new Map<string, Target>();
  remembered.set(target, known);
  const before = known.get(key);
  if (before) return before;
  const resolved = resolve(target, asked);
  if (asked.options !== undefined) await refuseMisfit(resolved, nodes);
  if (known.size >= MAX_REMEMBERED) known.clear();
  known.set(key, resolved);
  return resolved;
}

async function refuseMisfit({ spec }: Target, nodes: () => Promise<NodeFacts[]>): Promise<void> {
  const misfits = neverFits([spec], await nodes());
  if (misfits.length > 0) fail("resources_unavailable", `no node is large enough: ${misfits[0]}`, { misfits });
}

function resolve(target: Target, asked: AskedVariant): Target {
  const spec = target.spec;
  const variant: Variant = { parameters: parametersOf(target, asked), options: optionsOf(spec, asked.options) };
  const pool = poolName(spec, variant);
  return {
    ...target,
    key: functionKey(target.app, pool),
    spec: { ...spec, ...variant.options, name: pool },
    variant: pool === spec.name ? undefined : variantText(variant),
  };
}

function parametersOf({ spec, name }: Target, { query = {}, parameters }: AskedVariant): Variant["parameters"] {
  const declared = spec.class!.parameters;
  const typeOf = new Map(declared.map((one) => [one.name, one.type]));
  const given = Object.fromEntries(Object.entries(query).map(([one, text]) => [one, fromText(typeOf.get(one), text)]));
  const { values, problems } = fitParameters(declared, { ...given, ...parameters });
  if (problems.length > 0) fail("invalid_parameters", `${name}: ${problems.join("; ")}`, { problems });
  return values;
}

function optionsOf(spec: FunctionSpec, asked: AskedVariant["options"] = {}): Overrides {
  const read = overridesSchema.safeParse(asked);
  if (!read.success) {
    const { path, message } = read.error.issues[0]!;
    return fail("bad_request", `options: ${path.join(".")} ${message}`.replace(/ {2,}/g, " "));
  }
  // What the class says already is no other variant of it.
  const differs = ([name, value]: [string, unknown]): boolean =>
    JSON.stringify(value) !== JSON.stringify(spec[name as keyof FunctionSpec]);
  return Object.fromEntries(Object.entries(read.data).filter(differs));
}
