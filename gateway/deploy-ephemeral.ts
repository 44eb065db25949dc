/** Runs a deployment as a version that lives as long as its client stays connected; the app's current version is untouched. */
import { asFabricError } from "../core/errors.ts";
import { newId } from "../core/ids.ts";
import { isTerminal } from "../core/invocation.ts";
import { manifestOf } from "../core/registry.ts";
import type { Deployment } from "../core/spec.ts";
import { buildImages, functionUrls } from "./deploy.ts";
import type { GatewayDeps } from "./deps.ts";
import type { LineWriter } from "./line-stream.ts";
import { pause } from "./pause.ts";

/** A gateway that dies with its client still there leaves the version this long. */
const TTL_MS = 60_000;
const KEEP_EVERY_MS = TTL_MS / 4;
const HISTORY = 10_000;

type Deps = Pick<GatewayDeps, "builder" | "state" | "clock" | "log">;

export async function deployEphemeral(
  deps: Deps,
  deployment: Deployment,
  urlOf: (fn: string) => string,
  out: LineWriter,
  signal: AbortSignal,
): Promise<void> {
  const refs = await buildImages(deps, deployment, out, signal);
  const version = newId("run");
  const manifest = JSON.stringify(manifestOf(deployment, version, refs, deps.clock.now()));
  const keep = async () => {
    await deps.state.holds.keepEphemeral(deployment.app, version, manifest, TTL_MS);
    await deps.state.images.need(Object.values(refs));
  };
  await keep();
  try {
    const urls = functionUrls(deployment, (fn) => `${urlOf(fn)}?version=${version}`);
    await out.write({ type: "deployed", app: deployment.app, version, unchanged: false, urls });
    await keepUntil(deps, keep, signal);
  } finally {
    await endEphemeral(deps, deployment.app, version);
  }
}

async function keepUntil({ clock, log }: Deps, keep: () => Promise<void>, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await pause(clock, KEEP_EVERY_MS, signal);
    if (signal.aborted) return;
    // The next refresh comes long before the version would end.
    await keep().catch((error: unknown) => {
      const { code, message } = asFabricError(error);
      log.warn({ code, error: message }, "an ephemeral version was not refreshed; trying again");
    });
  }
}

async function endEphemeral({ state, log }: Deps, app: string, version: string): Promise<void> {
  try {
    await state.holds.dropEphemeral(app, version);
    const calls = await state.invocations.list({ app, limit: HISTORY });
    const open = calls.filter((call) => call.version === version && !isTerminal(call.state));
    await Promise.all(open.map(({ id }) => state.invocations.cancel(id)));
    await state.hints.appChanged(app);
  } catch (error) {
    // Nobody is there to tell: without refreshes the version ends by itself.
    const { code, message } = asFabricError(error);
    log.warn({ app, version, code, error: message }, "an ephemeral version ends late");
  }
}
