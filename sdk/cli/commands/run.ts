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
  // Closing the deployment's stream is what ends the version: once it runs, after what runs here, which else sees its calls cancelled first.
  const hold = new AbortController();
  const giveUp = (): void => hold.abort(context.signal.reason);
  context.signal.addEventListener("abort", giveUp);
  const events = client.deploy(deployment, { ephemeral: true, signal: hold.signal })[Symbol.asyncIterator]();
  try {
    const { version, app } = await awaitDeployed({ [Symbol.asyncIterator]: () => keepOpen(events) }, context.terminal);
    context.signal.removeEventListener("abort", giveUp);
    context.signal.throwIfAborted();
    const { url, token } = context.connection();
    const environment = {
      ...pythonEnvironment(context.environment),
      ...{ FABRIC_APP: app, FABRIC_APP_VERSION: version, FABRIC_URL: url, FABRIC_TOKEN: token },
    };
    const words = ["-m", "fabric_sdk.run", resolve(path), entry, ...args];
    const code = await withLogs({ app, version }, context, () =>
      inherit(python.command, words, environment, context.signal),
    );
    if (context.signal.aborted)
      context.terminal.note(`interrupted: this run of ${app} has ended, and its calls are cancelled`);
    return code;
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
  const print = ({ source, rank, text }: LogEntry): void => {
    const line = `${rank === undefined ? "" : terminal.paint.dim(`[${rank}] `)}${text.trimEnd()}`;
    terminal.note(source === "system" ? terminal.paint.dim(line) : line);
  };
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

export interface Runnable {
  name: string;
  class?: { methods: { name: string }[] };
}

export function onlyEntry(description: { entrypoints: { name: string }[]; functions: Runnable[] }): string {
  const { entrypoints, functions } = description;
  const candidates = entrypoints.length > 0 ? entrypoints.map(({ name }) => name) : functions.flatMap(calledNames);
  const [first] = candidates;
  if (first && candidates.length === 1) return first;
  const names = candidates.join(", ");
  throw new UsageError(`which one? Name it as PATH::NAME, of: ${names || "(the app defines nothing to run)"}`);
}

export const calledNames = ({ name, class: cls }: Runnable): string[] =>
  cls ? cls.methods.map((method) => `${name}.${method.name}`) : [name];
