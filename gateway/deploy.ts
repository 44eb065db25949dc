/** Makes a deployment the app's current version: builds its images, tells how that goes, publishes. */
import type { Deployment, FunctionSpec } from "../core/spec.ts";
import type { GatewayDeps } from "./deps.ts";
import type { LineWriter } from "./line-stream.ts";
import { syncSchedules } from "./sync-schedules.ts";

type Deps = Pick<GatewayDeps, "builder" | "registry" | "metrics" | "state" | "objects" | "clock">;

/** Image key -> the engine's reference. Events go out in the order they come; a slow reader slows no build down. */
export async function buildImages(
  { builder, state }: Pick<Deps, "builder" | "state">,
  deployment: Deployment,
  out: LineWriter,
  signal: AbortSignal,
): Promise<Record<string, string>> {
  const refs: Record<string, string> = {};
  for (const [key, spec] of Object.entries(deployment.images)) {
    const { ref, cached } = await builder.build(spec, ({ kind, text }) => out.push({ type: kind, text }), signal);
    await out.write({ type: "step", text: `image ${key}: ${cached ? "built before" : "built"}` });
    refs[key] = ref;
    // No version names it yet.
    await state.images.need([ref]);
  }
  return refs;
}

export async function deploy(
  deps: Deps,
  deployment: Deployment,
  urlOf: (fn: string) => string,
  out: LineWriter,
  signal: AbortSignal,
): Promise<void> {
  const refs = await buildImages(deps, deployment, out, signal);
  signal.throwIfAborted();
  const { manifest, unchanged } = await deps.registry.publish(deployment, refs);
  await syncSchedules(deps, deployment.app);
  deps.metrics.deployed(unchanged);
  await out.write({
    type: "deployed",
    app: deployment.app,
    version: manifest.version,
    unchanged,
    urls: functionUrls(deployment, urlOf),
  });
}

export const functionUrls = (
  { functions }: Pick<Deployment, "functions">,
  urlOf: (fn: string) => string,
): Record<string, string> => Object.fromEntries(functions.flatMap(namesOf).map((name) => [name, urlOf(name)]));

/** What of it can be called. */
const namesOf = ({ name, class: cls }: FunctionSpec): string[] =>
  cls ? cls.methods.map((method) => `${name}.${method.name}`) : [name];
