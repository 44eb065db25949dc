/** `fabric deploy PATH`: the app's next version, and how to call it. */
import { commandName } from "../../../core/command-name.ts";
import type { FunctionSpec } from "../../../core/spec.ts";
import type { Context } from "../context.ts";
import { type Deployed, deployPrepared, prepare } from "../ship.ts";

export async function deploy(
  path: string,
  options: { name?: string; json?: boolean },
  context: Context,
): Promise<void> {
  const startedAt = performance.now();
  const { terminal } = context;
  const prepared = await prepare(path, options.name, context);
  const deployed = await deployPrepared(context.client(), prepared, context);
  const seconds = Number(((performance.now() - startedAt) / 1000).toFixed(2));
  const { url } = context.connection();
  const urls = Object.fromEntries(
    Object.entries(deployed.urls).map(([fn, target]) => [fn, new URL(target, url).toString()]),
  );
  if (options.json) return terminal.json({ ...deployed, type: undefined, urls, seconds });
  const { app, version, unchanged } = deployed;
  terminal.out(
    unchanged
      ? `${app} is unchanged: version ${version} stays (${seconds} s)`
      : `${terminal.paint.green("deployed")} ${app} version ${version} in ${seconds} s`,
  );
  for (const [fn, target] of Object.entries(urls)) terminal.out(`  ${fn.padEnd(24)} ${target}`);
  const example = exampleCall(deployed, urls, prepared.deployment.functions);
  if (example) terminal.note(`\n  eval "$(${commandName(context.environment)} env)"\n  ${example}`);
}

/** A line to paste, with the function's own parameters. */
export function exampleCall(
  deployed: Deployed,
  urls: Record<string, string>,
  functions: readonly FunctionSpec[],
): string {
  const fn = functions.find(({ parameters }) => !parameters?.some(({ required }) => required)) ?? functions[0];
  if (!fn) return "";
  const required = (fn.parameters ?? []).filter((one) => one.required && one.kind !== "args" && one.kind !== "kwargs");
  const body = JSON.stringify(Object.fromEntries(required.map(({ name }) => [name, "..."])));
  const url = urls[fn.name] ?? `$FABRIC_URL/f/${deployed.app}/${fn.name}`;
  return `curl -H "Authorization: Bearer $FABRIC_TOKEN" -H "Content-Type: application/json" -d '${body}' ${url}`;
}
