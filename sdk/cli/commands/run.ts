/** `fabric run PATH[::NAME] [args]`: an app that lives as long as this command, with one of its entrypoints run here. */
import { resolve } from "node:path";
import { fail } from "../../../core/errors.ts";
import type { LogEntry } from "../../typescript/client.ts";
import { type Context, UsageError } from "../context.ts";
import { followVersion } from "../follow-version.ts";
import { findPython, inherit, pythonEnvironment } from "../python.ts";
import { awaitDeployed, prepare } from "../ship.ts";

export async function run(target: string, args: readonly string[], context: Context): Promise<number> {
  const [path = "", name] = target.split("::");
  const python = await findPython(context.environment);
  if (!python) fail("image_python_unavailable", "fabric run needs python3 of 3.9 or newer on this machine.");
  const { description, deployment } = await prepare(path, undefined, context);
  const entry = name ?? onlyEntry(description);
  const client = context.client();
  // Closing the deployment's stream is what ends the version.
  const hold = new AbortController();
  const signal = AbortSignal.any([context.signal, hold.signal]);
  const events = client.deploy(deployment, { ephemeral: true, signal })[Symbol.asyncIterator]();
  try {
    const { version, app } = await awaitDeployed({ [Symbol.asyncIterator]: () => keepOpen(events) }, context.terminal);
    const { url, token } = context.connection();
    const environment = {
      ...pythonEnvironment(context.environment),
      ...{ FABRIC_APP: app, FABRIC_APP_VERSION: version, FABRIC_URL: url, FABRIC_TOKEN: token },
    };
    const words = ["-m", "fabric_sdk.run", resolve(path), entry, ...args];
    return await withLogs({ app, version }, context, () => inherit(python.command, words, environment, context.signal));
  } finally {
    hold.abort();
  }
}

/** What the functions print elsewhere goes to stderr here, so that stdout is the entrypoint's own. */
async function withLogs<T>(
  version: { app: string; version: string },
  context: Context,
  act: () => Promise<T>,
): Promise<T> {
  const { terminal, signal } = context;
  const ended = new AbortController();
  const print = ({ source, text }: LogEntry): void =>
    terminal.note(source === "system" ? terminal.paint.dim(text.trimEnd()) : text.trimEnd());
  const following = followVersion(context.client(), version, print, AbortSignal.any([signal, ended.signal])).catch(
    (error: unknown) => terminal.warn(`the log stream ended: ${error instanceof Error ? error.message : error}`),
  );
  try {
    return await act();
  } finally {
    ended.abort();
    if (!signal.aborted) await following;
  }
}

/** Leaving a `for await` would close the stream, and with it the version. */
const keepOpen = <T>(events: AsyncIterator<T>): AsyncIterator<T> => ({ next: () => events.next() });

export function onlyEntry(description: { entrypoints: { name: string }[]; functions: { name: string }[] }): string {
  const { entrypoints, functions } = description;
  const candidates = entrypoints.length > 0 ? entrypoints : functions;
  const [first] = candidates;
  if (first && candidates.length === 1) return first.name;
  const names = candidates.map(({ name }) => name).join(", ");
  throw new UsageError(`which one? Name it as PATH::NAME, of: ${names || "(the app defines nothing to run)"}`);
}
