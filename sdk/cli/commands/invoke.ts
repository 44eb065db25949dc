/** `fabric invoke APP/FUNCTION`: one call, its result on stdout, its prints on stderr if wanted. */
import { readFileSync } from "node:fs";
import { untilEnded } from "../../typescript/client.ts";
import { type Context, UsageError } from "../context.ts";
import { EXIT_CODES } from "../exit-codes.ts";
import { printAnswer, seconds } from "./invocation.ts";
import { followInvocation } from "./logs.ts";

export interface InvokeOptions {
  json?: string;
  arg?: string[];
  async?: boolean;
  wait?: string;
  follow?: boolean;
  key?: string;
  version?: string;
}

/** `curl` users get the gateway's default; people at a terminal wait for their result. */
const FOREVER_SECONDS = 30 * 86_400;

export async function invoke(target: string, options: InvokeOptions, context: Context): Promise<number> {
  const [app, fn, ...rest] = target.split("/");
  if (!app || !fn || rest.length > 0) throw new UsageError(`'${target}' is not APP/FUNCTION`);
  const { terminal, signal } = context;
  const client = context.client();
  const body = callBody(options);
  const waitSeconds = options.wait === undefined ? FOREVER_SECONDS : seconds(options.wait);
  const accepted = await client.invoke(app, fn, body, {
    version: options.version,
    idempotencyKey: options.key,
    waitSeconds: options.async || options.follow ? 0 : waitSeconds,
    signal,
  });
  if (options.async) {
    terminal.out(accepted.id);
    return EXIT_CODES.ok.code;
  }
  const ended = new AbortController();
  const following = options.follow
    ? followInvocation(app, accepted.id, context, AbortSignal.any([signal, ended.signal]))
    : Promise.resolve();
  try {
    const onPending = (pending: { reason?: string; state: string }): void =>
      terminal.status(pending.reason ?? pending.state);
    const answer = await untilEnded(client, accepted, waitSeconds, onPending, signal);
    terminal.status(undefined);
    return printAnswer(answer, terminal);
  } finally {
    ended.abort();
    await following;
  }
}

export function callBody(options: Pick<InvokeOptions, "json" | "arg">): string {
  if (options.json !== undefined && options.arg) throw new UsageError("give --json or --arg, not both");
  if (options.arg) return JSON.stringify(Object.fromEntries(options.arg.map(parseArgument)));
  if (options.json === undefined) return "{}";
  const text = options.json.startsWith("@") ? readBody(options.json.slice(1)) : options.json;
  try {
    JSON.parse(text);
  } catch (error) {
    throw new UsageError(`--json is not JSON: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
  return text;
}

const readBody = (file: string): string => readFileSync(file === "-" ? 0 : file, "utf8");

function parseArgument(text: string): [string, unknown] {
  const at = text.indexOf("=");
  if (at < 1) throw new UsageError(`--arg ${text} is not NAME=VALUE`);
  const value = text.slice(at + 1);
  try {
    return [text.slice(0, at), JSON.parse(value)];
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return [text.slice(0, at), value];
  }
}
