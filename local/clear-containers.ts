/** Removes the containers a fabric left on this machine, by the runner's own program: only the runner touches an engine. */
import { join } from "node:path";
import { toEnvironment } from "../core/config.ts";
import { type CommandResult, runCommand } from "../core/run-command.ts";
import { LocalFailure } from "./failure.ts";
import { type PlanInput, sharedConfig } from "./plan.ts";

const WITHIN_MS = 60_000;

/** To be called when no runner lives any more. Answers the ids of the containers that were there. */
export async function clearContainers(input: PlanInput): Promise<string[]> {
  const { command, dist } = input.node;
  const extraEnv = toEnvironment(sharedConfig(input));
  const signal = AbortSignal.timeout(WITHIN_MS);
  const { code, stdout, stderr } = await runCommand(command, [join(dist, "clear.js")], {
    cwd: dist,
    extraEnv,
    signal,
  }).catch((cause: unknown): CommandResult => {
    if (!signal.aborted) throw cause;
    return { code: 1, stdout: "", stderr: `no end after ${WITHIN_MS / 1000} s` };
  });
  if (code === 0) return (JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? "") as { removed: string[] }).removed;
  throw new LocalFailure(
    "containers of this fabric may be left on this machine",
    stderr.trim().split("\n").slice(-5).join("\n"),
  );
}
